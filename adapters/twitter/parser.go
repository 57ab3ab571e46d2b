package twitter

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// Channel is the name of this channel in messages, keys and the inbox.
const Channel = "twitter"

const (
	// maxTextRunes bounds the text that is parsed, in code points: X lets paying
	// accounts write 25,000, and a command is a few words of it.
	maxTextRunes = 25_000
	// maxTextBytes is maxTextRunes at four bytes a code point, as a test that
	// costs nothing.
	maxTextBytes = 4 * maxTextRunes
	// maxMentions bounds the mentions that are looked at: the shortest mention,
	// "@a ", fits some 8,000 times into the longest text, nobody writes more than
	// a few, and looking each up among all others must stay cheap.
	maxMentions = 500
)

// DefaultHashtags are the hashtags that make a message a command. Source: the
// service's rules (#envoyer since 2014), and their English names.
func DefaultHashtags() []string {
	return []string{"envoyer", "send", "don", "donner", "give"}
}

// Config says whose commands a Parser reads.
type Config struct {
	BankUserID string   // numeric id of the bank's account
	BankHandle string   // its handle, without @; case does not matter
	Hashtags   []string // without #; nil means DefaultHashtags
}

// Parser reads payment commands out of messages. It implements payments.Parser:
// pure, safe for concurrent use, same message same answer.
type Parser struct {
	bankID     string
	bankHandle string
	hashtags   map[string]string // lower-case hashtag to the language it is written in
}

// NewParser returns a Parser, or an Error with CodeInvalid where the
// configuration cannot work.
func NewParser(cfg Config) (*Parser, error) {
	p := &Parser{bankID: cfg.BankUserID, bankHandle: strings.TrimPrefix(cfg.BankHandle, "@"), hashtags: map[string]string{}}
	if !validID(p.bankID) {
		return nil, ledger.Errorf(ledger.CodeInvalid, "%q is not a numeric user id; look up the id of the bank's account", clip(p.bankID)).InField("bank_user_id")
	}
	if !validHandle(p.bankHandle) {
		return nil, ledger.Errorf(ledger.CodeInvalid, "%q is not a handle: letters, digits and _ only", clip(p.bankHandle)).InField("bank_handle")
	}
	tags := cfg.Hashtags
	if tags == nil {
		tags = DefaultHashtags()
	}
	for _, tag := range tags {
		tag = strings.ToLower(strings.TrimPrefix(tag, "#"))
		if !validHashtag(tag) {
			return nil, ledger.Errorf(ledger.CodeInvalid, "%q is not a hashtag: letters, digits and _, with at least one letter", clip(tag)).InField("hashtags")
		}
		p.hashtags[tag] = hashtagLanguage(tag)
	}
	return p, nil
}

// hashtagLanguage is the language of whoever writes tag: the service is French,
// so that all which is not known to be English counts as French.
func hashtagLanguage(tag string) string {
	switch tag {
	case "send", "give", "pay", "donate":
		return "en"
	}
	return "fr"
}

// Parse implements payments.Parser.
func (p *Parser) Parse(m payments.Message) payments.Parsed {
	parsed := payments.Parsed{Language: guessLanguage(m.Language)}
	if reason := p.notOurs(m); reason != "" {
		parsed.Ignored = reason
		return parsed
	}
	var room [320]char // a usual tweet needs no heap
	text := scanned{chars: normalize(room[:0], m.Text)}
	var tokenRoom [96]token
	text.tokens = text.scan(tokenRoom[:0])
	text.cutRepost()

	if !p.bankMentioned(m, &text) {
		parsed.Ignored = payments.IgnoredNoMention
		return parsed
	}
	amounts := text.amounts()
	parsed.SecretWarning = text.holdsSecret(amounts)
	text.dropQuotedCommands(p.hashtags)
	tags := p.commandTags(&text)
	if len(tags) == 0 {
		parsed.Ignored = payments.IgnoredNoHashtag
		return parsed
	}
	hashtag := text.lower(tags[0], 1)
	parsed.Language = p.hashtags[hashtag]
	p.readCommand(m, &text, tags, hashtag, &parsed)
	return parsed
}

// notOurs tells from the message's frame, without reading it, that it is no
// command to us.
func (p *Parser) notOurs(m payments.Message) payments.IgnoreReason {
	switch {
	case m.Kind == payments.Repost || startsRepost(m.Text):
		return payments.IgnoredRepost
	case m.AuthorID == p.bankID:
		return payments.IgnoredOwn
	case len(m.Text) > maxTextBytes || utf8.RuneCountInString(m.Text) > maxTextRunes:
		return payments.IgnoredTooLong
	}
	return ""
}

// startsRepost recognises the way in which retweets are written in archives and
// by hand.
func startsRepost(text string) bool {
	return strings.HasPrefix(text, "RT @")
}

// readCommand sets parsed's Command, or its Refusal. The amount is judged before
// the payee: it is what people get wrong.
func (p *Parser) readCommand(m payments.Message, text *scanned, tags []token, hashtag string, parsed *payments.Parsed) {
	amounts := text.amounts() // anew: what was quoted is gone
	payee, payeeRefusal := p.payee(m, text)
	if len(tags) > 1 && (len(amounts) > 1 || (payeeRefusal != nil && payeeRefusal.Code == payments.RefusedTwoPayees)) {
		parsed.Refusal = text.refusal(payments.RefusedTwoCommands, tags[1])
		return
	}
	amount, amountRefusal := text.theAmount(amounts)
	switch {
	case amountRefusal != nil:
		parsed.Refusal = amountRefusal
	case payeeRefusal != nil:
		parsed.Refusal = payeeRefusal
	default:
		parsed.Command = &payments.Command{
			Name:        payments.CommandPay,
			Hashtag:     hashtag,
			Amount:      amount,
			Currency:    ledger.EUR,
			PayeeID:     payee.UserID,
			PayeeHandle: payee.Handle,
			Language:    parsed.Language,
		}
	}
}

// commandTags returns the hashtags that are commands, in order.
func (p *Parser) commandTags(text *scanned) []token {
	var tags []token
	for _, t := range text.tokens {
		if t.kind != hashtagToken {
			continue
		}
		if _, ok := p.hashtags[text.lower(t, 1)]; ok {
			tags = append(tags, t)
		}
	}
	return tags
}

// bankMentioned reports whether the text mentions the bank, by id where the
// channel resolved the handle, by handle where it did not: nothing is bound to
// the bank's own mention.
func (p *Parser) bankMentioned(m payments.Message, text *scanned) bool {
	for _, t := range text.tokens {
		if t.kind != mentionToken {
			continue
		}
		if _, who := p.resolve(m, text.string(t, 1)); who == theBank {
			return true
		}
	}
	return false
}

// party is whom a mention turned out to be.
type party int

const (
	unresolved party = iota
	theBank
	thePayer
	someoneElse
)

// resolve finds whom handle named when the message was written. Two different
// ids for one handle are no answer.
func (p *Parser) resolve(m payments.Message, handle string) (payments.Mention, party) {
	var found payments.Mention
	for _, mention := range m.Mentions[:min(len(m.Mentions), maxMentions)] {
		if !strings.EqualFold(mention.Handle, handle) || !validHandle(handle) {
			continue
		}
		if !validID(mention.UserID) || (found.UserID != "" && found.UserID != mention.UserID) {
			return payments.Mention{}, unresolved
		}
		found = mention
	}
	switch found.UserID {
	case "":
		if strings.EqualFold(handle, p.bankHandle) {
			return found, theBank
		}
		return found, unresolved
	case p.bankID:
		return found, theBank
	case m.AuthorID:
		return found, thePayer
	}
	return found, someoneElse
}

// payee returns the one user beside the bank whom the text mentions, or why
// there is not exactly one. Mentioning the same payee twice names one payee.
func (p *Parser) payee(m payments.Message, text *scanned) (payments.Mention, *payments.Refusal) {
	var (
		payee     payments.Mention
		payeeAt   token
		banks     int
		lastBank  token
		selfFound bool
	)
	for _, t := range text.tokens {
		if t.kind != mentionToken {
			continue
		}
		mention, who := p.resolve(m, text.string(t, 1))
		switch who {
		case unresolved:
			return payee, text.refusal(payments.RefusedUnresolved, t)
		case theBank:
			banks, lastBank = banks+1, t
			continue
		case thePayer:
			selfFound = true
		case someoneElse:
		}
		if payee.UserID != "" && payee.UserID != mention.UserID {
			return payee, text.refusal(payments.RefusedTwoPayees, t)
		}
		payee, payeeAt = mention, t
	}
	switch {
	case payee.UserID != "" && selfFound:
		return payee, text.refusal(payments.RefusedSelf, payeeAt)
	case payee.UserID != "":
		return payee, nil
	case banks > 1:
		return payee, text.refusal(payments.RefusedBank, lastBank)
	}
	return payee, &payments.Refusal{Code: payments.RefusedNoPayee}
}

// guessLanguage maps a channel's guess to the languages that we answer in.
func guessLanguage(tag string) string {
	if tag == "en" || strings.HasPrefix(tag, "en-") {
		return "en"
	}
	return "fr"
}

// maxIDLength bounds an id: a snowflake has 19 digits, an uint64 20.
const maxIDLength = 20

// validID reports whether id is a numeric id as X gives them.
func validID(id string) bool {
	if id == "" || len(id) > maxIDLength {
		return false
	}
	for i := range len(id) {
		if id[i] < '0' || id[i] > '9' {
			return false
		}
	}
	return true
}

// maxHandleLength bounds a handle. X gives out 15 characters; some accounts of
// the first years have 20.
const maxHandleLength = 20

// validHandle reports whether handle, without @, can be one: X has no letters
// in handles but ASCII ones, so that a look-alike from another script is none.
func validHandle(handle string) bool {
	if handle == "" || len(handle) > maxHandleLength {
		return false
	}
	for i := range len(handle) {
		if !asciiWord(rune(handle[i])) {
			return false
		}
	}
	return true
}

// validHashtag reports whether tag, without #, is a hashtag to X.
func validHashtag(tag string) bool {
	letters := 0
	for _, r := range tag {
		if !wordRune(r) {
			return false
		}
		if unicode.IsLetter(r) {
			letters++
		}
	}
	return letters > 0
}

// clip shortens foreign text so that an error stays one readable line.
func clip(s string) string {
	const most = 60
	runes := []rune(s)
	if len(runes) <= most {
		return s
	}
	return string(runes[:most]) + "…"
}
