package twitter

import (
	"slices"
	"strings"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// hashtag is what a hashtag asks for. The service is French, so that a hashtag
// which is not known to be English counts as French.
type hashtag struct {
	tag      string // lower case, without #
	command  string // payments.CommandPay, …
	language string // "fr" or "en"
}

// DefaultHashtags are the hashtags that make a message a payment. Source: the
// service's rules (#envoyer since 2014), and their English names.
func DefaultHashtags() []string {
	return []string{"envoyer", "send", "don", "donner", "give"}
}

// fixedHashtags are those of the commands beside pay. They are everywhere the same:
// help tells them.
func fixedHashtags() []hashtag {
	return []hashtag{
		{"solde", payments.CommandBalance, "fr"}, {"balance", payments.CommandBalance, "en"},
		{"annuler", payments.CommandCancel, "fr"}, {"cancel", payments.CommandCancel, "en"},
		{"aide", payments.CommandHelp, "fr"}, {"help", payments.CommandHelp, "en"},
		{"lier", payments.CommandLink, "fr"}, {"link", payments.CommandLink, "en"},
	}
}

// hashtags returns all hashtags that are commands, pay being those of payments.
func hashtags(pay []string) (map[string]*hashtag, error) {
	tags := map[string]*hashtag{}
	for _, h := range fixedHashtags() {
		tags[h.tag] = &h
	}
	for _, tag := range pay {
		tag = strings.ToLower(strings.TrimPrefix(tag, "#"))
		if !validHashtag(tag) {
			return nil, ledger.Errorf(ledger.CodeInvalid, "%q is not a hashtag: letters, digits and _, with at least one letter, %d bytes at most", clip(tag), longestHashtag).InField("hashtags")
		}
		if taken := tags[tag]; taken != nil && taken.command != payments.CommandPay {
			return nil, ledger.Errorf(ledger.CodeInvalid, "#%s is a command of its own and cannot mean a payment; choose another", tag).InField("hashtags")
		}
		tags[tag] = &hashtag{tag, payments.CommandPay, hashtagLanguage(tag)}
	}
	return tags, nil
}

// hashtagLanguage is the language of whoever pays with tag.
func hashtagLanguage(tag string) string {
	switch tag {
	case "send", "give", "pay", "donate":
		return "en"
	}
	return "fr"
}

// longestHashtag bounds a configured hashtag, so that it can be looked for.
const longestHashtag = longestWord - 4

// validHashtag reports whether tag, without #, is a hashtag to X.
func validHashtag(tag string) bool {
	letters := 0
	for _, r := range tag {
		c := classOf(r)
		if !c.is(wordClass) {
			return false
		}
		if c.is(letterClass) {
			letters++
		}
	}
	return letters > 0 && len(tag) <= longestHashtag
}

// commandTag is a hashtag of the text that is a command.
type commandTag struct {
	*hashtag
	token int
}

func (t commandTag) pays() bool { return t.command == payments.CommandPay }

// findTags collects the hashtags that are commands, in order.
func (p *Parser) findTags(text *scanned) {
	text.tags = text.tags[:0]
	var buf [longestWord]byte
	for i, t := range text.tokens {
		if t.kind != hashtagToken {
			continue
		}
		if h := p.hashtags[string(text.lower(t, 1, &buf))]; h != nil {
			text.tags = append(text.tags, commandTag{h, i})
		}
	}
}

// theCommand returns the command that the hashtags ask for, or the one that
// contradicts it. Beside a payment other hashtags are words (a #don with #aide),
// but for one that cancels; beside any other command those for help are.
func theCommand(tags []commandTag) (command commandTag, other *commandTag) {
	command = tags[0]
	if i := slices.IndexFunc(tags, commandTag.pays); i >= 0 {
		command = tags[i]
		for j := range tags {
			if tags[j].command == payments.CommandCancel {
				return command, &tags[max(i, j)]
			}
		}
		return command, nil
	}
	for i := range tags {
		switch {
		case tags[i].command == payments.CommandHelp || tags[i].command == command.command:
		case command.command == payments.CommandHelp:
			command = tags[i]
		default:
			return command, &tags[i]
		}
	}
	return command, nil
}

// referenceLength is that of an order's reference in a reply: "Réf. 1A2B3C4D".
const referenceLength = 8

// reference returns the reference of an order that the text quotes, in capitals,
// "" where it quotes none, or the place of a second, different one.
func (s *scanned) reference() (string, *token) {
	found, next := "", int32(0)
	for _, t := range s.tokens {
		if t.kind != wordToken && t.kind != numberToken {
			continue
		}
		for i := max(t.from, next); i < t.to; i = next {
			next = i + 1
			if !s.chars[i].class.is(wordClass) || (i > 0 && s.chars[i-1].class.is(wordClass)) {
				continue
			}
			next = int32(s.wordEnd(int(i)))
			switch ref := asReference(s.chars[i:next]); {
			case ref == "" || ref == found:
			case found != "":
				return found, &token{from: i, to: next}
			default:
				found = ref
			}
		}
	}
	return found, nil
}

// asReference returns the reference that a run of characters is, or "". One without
// a digit is one in capitals only: there are words of the letters a to f.
func asReference(run []char) string {
	if len(run) != referenceLength {
		return ""
	}
	var ref [referenceLength]byte
	digits, small := 0, 0
	for i, c := range run {
		switch r := c.r; {
		case digit(r):
			digits++
			ref[i] = byte(r)
		case 'A' <= r && r <= 'F':
			ref[i] = byte(r)
		case 'a' <= r && r <= 'f':
			small++
			ref[i] = byte(r) - 'a' + 'A'
		default:
			return ""
		}
	}
	if digits == 0 && small > 0 {
		return ""
	}
	return string(ref[:])
}
