package twitter

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"tweetledger/internal/payments"
)

// tokenKind is what a piece of a text is.
type tokenKind uint8

const (
	wordToken    tokenKind = iota // letters only: "EUR20" is a word and a number
	numberToken                   // digits with the separators between them: "1 250,00"
	euroToken                     // €
	foreignToken                  // any other currency sign
	mentionToken                  // @handle
	hashtagToken                  // #tag
	linkToken                     // http(s)://…
	markToken                     // any other single character
	breakToken                    // the end of a line
)

// token is the chars from..to of a text. spaced says that a space stands before it.
type token struct {
	kind     tokenKind
	spaced   bool
	from, to int32
}

func (t token) len() int { return int(t.to - t.from) }

// scanned is a text taken apart. Its slices are used again for the next text.
type scanned struct {
	text     string // the original
	chars    []char
	tokens   []token
	mentions []mentioned
	tags     []commandTag
	found    []candidate
}

// scan takes the text apart into tokens.
func (s *scanned) scan() {
	spaced := false
	for i := 0; i < len(s.chars); {
		if s.chars[i].class.is(spaceClass) {
			spaced = true
			i++
			continue
		}
		kind, end := s.tokenAt(i)
		s.tokens = append(s.tokens, token{kind: kind, spaced: spaced, from: int32(i), to: int32(end)})
		spaced = false
		i = end
	}
}

// tokenAt returns kind and end of the token that starts at i.
func (s *scanned) tokenAt(i int) (tokenKind, int) {
	r, c := s.chars[i].r, s.chars[i].class
	switch {
	case c.is(letterClass):
		if (r == 'h' || r == 'H') && s.startsLink(i) {
			return linkToken, s.linkEnd(i)
		}
		return wordToken, s.lettersEnd(i)
	case c.is(digitClass):
		return numberToken, s.numberEnd(i)
	case c.is(breakClass):
		return breakToken, i + 1
	case r == '€':
		return euroToken, i + 1
	case c.is(moneyClass):
		return foreignToken, i + 1
	case r == '@' && s.startsMention(i):
		return mentionToken, s.wordEnd(i + 1)
	case r == '#' && s.startsHashtag(i):
		return hashtagToken, s.wordEnd(i + 1)
	}
	return markToken, i + 1
}

// startsMention follows X's own rule for where a mention may start, so that an
// e-mail address is none. Source: twitter-text, validMentionPrecedingChars.
func (s *scanned) startsMention(i int) bool {
	if i+1 >= len(s.chars) || !s.chars[i+1].class.is(wordClass) {
		return false
	}
	return i == 0 || mayPrecedeMention(s.chars[i-1].r)
}

func mayPrecedeMention(r rune) bool {
	return r >= utf8.RuneSelf || !asciiWord(r) && !strings.ContainsRune("!#$%&*@", r)
}

// startsHashtag follows X's rule: a tag has a letter in it and does not start
// inside a word. Source: twitter-text, validHashtag.
func (s *scanned) startsHashtag(i int) bool {
	if i > 0 && (s.chars[i-1].class.is(wordClass) || s.chars[i-1].r == '&') {
		return false
	}
	for j := i + 1; j < len(s.chars) && s.chars[j].class.is(wordClass); j++ {
		if !s.chars[j].class.is(digitClass | otherDigitClass) {
			return true
		}
	}
	return false
}

func (s *scanned) startsLink(i int) bool {
	if i > 0 && s.chars[i-1].class.is(wordClass) {
		return false
	}
	return s.hasPrefix(i, "http://") || s.hasPrefix(i, "https://")
}

func (s *scanned) hasPrefix(i int, ascii string) bool {
	if i+len(ascii) > len(s.chars) {
		return false
	}
	for j := range len(ascii) {
		if unicode.ToLower(s.chars[i+j].r) != rune(ascii[j]) {
			return false
		}
	}
	return true
}

func (s *scanned) wordEnd(i int) int {
	for i < len(s.chars) && s.chars[i].class.is(wordClass) {
		i++
	}
	return i
}

func (s *scanned) lettersEnd(i int) int {
	for i < len(s.chars) && s.chars[i].class.is(letterClass|markClass) {
		i++
	}
	return i
}

func (s *scanned) linkEnd(i int) int {
	for i < len(s.chars) && !s.chars[i].class.is(spaceClass|breakClass) {
		i++
	}
	return i
}

// numberEnd returns the end of the number at i. Points, commas and apostrophes
// belong to it where a digit follows at once, spaces where one follows on the
// same line: which of these make sense is judged in amount.go.
func (s *scanned) numberEnd(i int) int {
	for i < len(s.chars) {
		r, c := s.chars[i].r, s.chars[i].class
		switch {
		case c.is(digitClass):
			i++
		case r == '.' || r == ',' || r == '\'' || r == '’':
			if i+1 >= len(s.chars) || !s.chars[i+1].class.is(digitClass) {
				return i
			}
			i++
		case c.is(spaceClass):
			next := i
			for next < len(s.chars) && s.chars[next].class.is(spaceClass) {
				next++
			}
			if next >= len(s.chars) || !s.chars[next].class.is(digitClass) {
				return i
			}
			i = next
		default:
			return i
		}
	}
	return i
}

// longestWord bounds, in bytes, the words and hashtags that can mean something here:
// "centimes", "milliards", and hashtags of the configuration.
const longestWord = 64

// lower writes a token in lower case without its first skip characters into buf. It
// returns nothing where that does not fit, and the token means nothing.
func (s *scanned) lower(t token, skip int, buf *[longestWord]byte) []byte {
	into := buf[:0]
	for _, c := range s.chars[int(t.from)+skip : t.to] {
		r := c.r
		switch {
		case 'A' <= r && r <= 'Z':
			r += 'a' - 'A'
		case r >= utf8.RuneSelf:
			r = unicode.ToLower(r)
		}
		if len(into)+utf8.UTFMax > len(buf) {
			return nil
		}
		into = utf8.AppendRune(into, r)
	}
	return into
}

// original returns the token as it was written, without its first skip characters.
// What was dropped or changed inside it is still there.
func (s *scanned) original(t token, skip int) string {
	if t.len() <= skip {
		return ""
	}
	return s.text[s.chars[int(t.from)+skip].from:s.chars[t.to-1].to]
}

// mark returns the character of a mark token, 0 for any other.
func (s *scanned) mark(t token) rune {
	if t.kind != markToken {
		return 0
	}
	return s.chars[t.from].r
}

// glued reports whether token i follows its predecessor without a space or a
// line's end between.
func (s *scanned) glued(i int) bool {
	return i > 0 && !s.tokens[i].spaced && s.tokens[i-1].kind != breakToken && s.tokens[i].kind != breakToken
}

// refusal makes a Refusal that points at t.
func (s *scanned) refusal(code payments.RefusalCode, t token) *payments.Refusal {
	return s.refusalAt(code, t.from, t.to)
}

// refusalAt points at chars: bytes of the original are counted as code points.
func (s *scanned) refusalAt(code payments.RefusalCode, from, to int32) *payments.Refusal {
	first, last := s.chars[from].from, s.chars[to-1].to
	start := utf8.RuneCountInString(s.text[:first])
	return &payments.Refusal{Code: code, Start: start, End: start + utf8.RuneCountInString(s.text[first:last])}
}

// cutRepost drops everything from "RT @somebody" on: what follows are another
// person's words, as are those of a retweet.
func (s *scanned) cutRepost() {
	for i := 0; i+1 < len(s.tokens); i++ {
		t := s.tokens[i]
		if t.kind != wordToken || t.len() != 2 || s.tokens[i+1].kind != mentionToken {
			continue
		}
		if first := s.chars[t.from].r; (first == 'R' || first == 'M') && s.chars[t.from+1].r == 'T' {
			s.tokens = s.tokens[:i]
			return
		}
	}
}

// dropQuotedCommands drops the quoted passages that hold one of the command tags:
// somebody tells what another wrote. Quotation marks around other words stay. It
// reports whether it dropped anything.
func (s *scanned) dropQuotedCommands() bool {
	dropped := false
	var unclosed []rune // searched for in vain: looked for once, however often it is opened
	for i := 0; i < len(s.tokens); i++ {
		closing := s.closingQuote(i)
		if closing == 0 || slices.Contains(unclosed, closing) {
			continue
		}
		end := i + 1
		for end < len(s.tokens) && !(s.mark(s.tokens[end]) == closing && (closing != '"' || s.glued(end))) {
			end++
		}
		if end == len(s.tokens) {
			unclosed = append(unclosed, closing)
			continue
		}
		if slices.ContainsFunc(s.tags, func(t commandTag) bool { return i < t.token && t.token < end }) {
			for j := i; j <= end; j++ {
				s.tokens[j].kind = breakToken
			}
			dropped = true
		}
		i = end
	}
	return dropped
}

// closingQuote returns the character that ends the quotation which token i
// opens, or 0 where it opens none. A straight quote opens where a word starts
// (and so is not the inches of 5").
func (s *scanned) closingQuote(i int) rune {
	switch s.mark(s.tokens[i]) {
	case '«':
		return '»'
	case '“':
		return '”'
	case '„':
		return '“'
	case '"':
		if !s.glued(i) && i+1 < len(s.tokens) && s.glued(i+1) {
			return '"'
		}
	}
	return 0
}
