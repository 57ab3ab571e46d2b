package twitter

import (
	"slices"
	"strings"
	"unicode"

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
	from, to int
}

// scanned is a text taken apart.
type scanned struct {
	chars  []char
	tokens []token
}

// scan appends the text's tokens to into.
func (s *scanned) scan(into []token) []token {
	spaced := false
	for i := 0; i < len(s.chars); {
		r := s.chars[i].r
		if horizontalSpace(r) {
			spaced = true
			i++
			continue
		}
		kind, end := s.tokenAt(i)
		into = append(into, token{kind: kind, spaced: spaced, from: i, to: end})
		spaced = false
		i = end
	}
	return into
}

// tokenAt returns kind and end of the token that starts at i.
func (s *scanned) tokenAt(i int) (tokenKind, int) {
	r := s.chars[i].r
	switch {
	case digit(r):
		return numberToken, s.numberEnd(i)
	case lineBreak(r):
		return breakToken, i + 1
	case r == '@' && s.startsMention(i):
		return mentionToken, s.wordEnd(i + 1)
	case r == '#' && s.startsHashtag(i):
		return hashtagToken, s.wordEnd(i + 1)
	case r == '€':
		return euroToken, i + 1
	case r == '$' || (r >= 0x80 && unicode.Is(unicode.Sc, r)):
		return foreignToken, i + 1
	case (r == 'h' || r == 'H') && s.startsLink(i):
		return linkToken, s.linkEnd(i)
	case unicode.IsLetter(r):
		return wordToken, s.lettersEnd(i)
	}
	return markToken, i + 1
}

// startsMention follows X's own rule for where a mention may start, so that an
// e-mail address is none. Source: twitter-text, validMentionPrecedingChars.
func (s *scanned) startsMention(i int) bool {
	if i+1 >= len(s.chars) || !wordRune(s.chars[i+1].r) {
		return false
	}
	if i == 0 {
		return true
	}
	before := s.chars[i-1].r
	return !asciiWord(before) && !strings.ContainsRune("!#$%&*@", before)
}

// startsHashtag follows X's rule: a tag has a letter in it and does not start
// inside a word. Source: twitter-text, validHashtag.
func (s *scanned) startsHashtag(i int) bool {
	if i > 0 && (wordRune(s.chars[i-1].r) || s.chars[i-1].r == '&') {
		return false
	}
	for j := i + 1; j < len(s.chars) && wordRune(s.chars[j].r); j++ {
		if !unicode.IsDigit(s.chars[j].r) {
			return true
		}
	}
	return false
}

func (s *scanned) startsLink(i int) bool {
	if i > 0 && wordRune(s.chars[i-1].r) {
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
	for i < len(s.chars) && wordRune(s.chars[i].r) {
		i++
	}
	return i
}

func (s *scanned) lettersEnd(i int) int {
	for i < len(s.chars) && (unicode.IsLetter(s.chars[i].r) || unicode.IsMark(s.chars[i].r)) {
		i++
	}
	return i
}

func (s *scanned) linkEnd(i int) int {
	for i < len(s.chars) && !horizontalSpace(s.chars[i].r) && !lineBreak(s.chars[i].r) {
		i++
	}
	return i
}

// numberEnd returns the end of the number at i. Points, commas and apostrophes
// belong to it where a digit follows at once, spaces where one follows on the
// same line: which of these make sense is judged in amount.go.
func (s *scanned) numberEnd(i int) int {
	for i < len(s.chars) {
		r := s.chars[i].r
		switch {
		case digit(r):
			i++
		case r == '.' || r == ',' || r == '\'' || r == '’':
			if i+1 >= len(s.chars) || !digit(s.chars[i+1].r) {
				return i
			}
			i++
		case horizontalSpace(r):
			next := i
			for next < len(s.chars) && horizontalSpace(s.chars[next].r) {
				next++
			}
			if next >= len(s.chars) || !digit(s.chars[next].r) {
				return i
			}
			i = next
		default:
			return i
		}
	}
	return i
}

// string returns the token's normalised text without its first skip characters.
func (s *scanned) string(t token, skip int) string {
	var b strings.Builder
	for _, c := range s.chars[t.from+skip : t.to] {
		b.WriteRune(c.r)
	}
	return b.String()
}

// lower returns the token's text in lower case without its first skip characters.
func (s *scanned) lower(t token, skip int) string {
	return strings.ToLower(s.string(t, skip))
}

// word returns the lower-case text of a word token; "" for every other kind and
// for words too long to be one that means something here.
func (s *scanned) word(t token) string {
	const longest = 12 // "centimes", "milliards", "sterling"
	if t.kind != wordToken || t.to-t.from > longest {
		return ""
	}
	return s.lower(t, 0)
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

func (s *scanned) refusalAt(code payments.RefusalCode, from, to int) *payments.Refusal {
	return &payments.Refusal{Code: code, Start: int(s.chars[from].from), End: int(s.chars[to-1].to)}
}

// cutRepost drops everything from "RT @somebody" on: what follows are another
// person's words, as are those of a retweet.
func (s *scanned) cutRepost() {
	for i := 0; i+1 < len(s.tokens); i++ {
		t := s.tokens[i]
		if t.kind != wordToken || t.to-t.from != 2 || s.tokens[i+1].kind != mentionToken {
			continue
		}
		if first := s.chars[t.from].r; (first == 'R' || first == 'M') && s.chars[t.from+1].r == 'T' {
			s.tokens = s.tokens[:i]
			return
		}
	}
}

// dropQuotedCommands drops the quoted passages that hold a command: somebody
// tells what another wrote. Quotation marks around other words stay.
func (s *scanned) dropQuotedCommands(commands map[string]string) {
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
		if s.holdsCommand(s.tokens[i:end], commands) {
			for j := i; j <= end; j++ {
				s.tokens[j].kind = breakToken
			}
		}
		i = end
	}
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

func (s *scanned) holdsCommand(tokens []token, commands map[string]string) bool {
	for _, t := range tokens {
		if t.kind != hashtagToken {
			continue
		}
		if _, ok := commands[s.lower(t, 1)]; ok {
			return true
		}
	}
	return false
}
