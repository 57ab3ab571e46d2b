package twitter

import (
	"strings"
	"sync"
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

// Config says whose commands a Parser reads.
type Config struct {
	BankUserID string   // numeric id of the bank's account
	BankHandle string   // its handle, without @; case does not matter
	Hashtags   []string // without #; nil means DefaultHashtags
}

// Parser reads commands out of messages. It implements payments.Parser: safe for
// concurrent use, same message same answer.
type Parser struct {
	bankID     string
	bankHandle string
	hashtags   map[string]*hashtag // by tag in lower case
	asciiTags  bool                // all of them are ASCII
	runes      *runeTable
	bytes      [256]byteKind
	rooms      sync.Pool // of *scanned, to take texts apart in
}

// NewParser returns a Parser, or an Error with CodeInvalid where the
// configuration cannot work.
func NewParser(cfg Config) (*Parser, error) {
	p := &Parser{bankID: cfg.BankUserID, bankHandle: strings.TrimPrefix(cfg.BankHandle, "@"), runes: newRuneTable(), bytes: newByteKinds(), asciiTags: true}
	if !validID(p.bankID) {
		return nil, ledger.Errorf(ledger.CodeInvalid, "%q is not a numeric user id; look up the id of the bank's account", clip(p.bankID)).InField("bank_user_id")
	}
	if !validHandle(p.bankHandle) {
		return nil, ledger.Errorf(ledger.CodeInvalid, "%q is not a handle: letters, digits and _ only", clip(p.bankHandle)).InField("bank_handle")
	}
	pay := cfg.Hashtags
	if pay == nil {
		pay = DefaultHashtags()
	}
	var err error
	if p.hashtags, err = hashtags(pay); err != nil {
		return nil, err
	}
	for tag := range p.hashtags {
		p.asciiTags = p.asciiTags && asciiWordLength(tag) == len(tag)
	}
	p.rooms.New = func() any { return new(scanned) }
	return p, nil
}

// Parse implements payments.Parser.
func (p *Parser) Parse(m payments.Message) payments.Parsed {
	if reason := p.notOurs(&m); reason != "" {
		return payments.Parsed{Language: guessLanguage(m.Language), Ignored: reason}
	}
	if reason := p.glance(&m); reason != "" {
		return payments.Parsed{Language: guessLanguage(m.Language), Ignored: reason}
	}
	return p.read(&m)
}

// read takes the text apart and finds out what it asks for.
func (p *Parser) read(m *payments.Message) payments.Parsed {
	text := p.rooms.Get().(*scanned)
	defer p.leave(text)
	parsed := payments.Parsed{Language: guessLanguage(m.Language)}
	text.text = m.Text
	text.chars = p.runes.normalize(text.chars[:0], m.Text)
	text.tokens = text.tokens[:0]
	text.scan()
	text.cutRepost()

	if !p.findMentions(m, text) && m.Kind != payments.Direct {
		parsed.Ignored = payments.IgnoredNoMention
		return parsed
	}
	text.findAmounts()
	parsed.SecretWarning = text.holdsSecret()
	p.findTags(text)
	if len(text.tags) > 0 && text.dropQuotedCommands() {
		p.findTags(text)
		text.findAmounts()
	}
	if len(text.tags) == 0 {
		parsed.Ignored = payments.IgnoredNoHashtag
		return parsed
	}
	tag, other := theCommand(text.tags)
	parsed.Language = tag.language
	switch {
	case other != nil:
		parsed.Refusal = text.refusal(payments.RefusedTwoCommands, text.tokens[other.token])
	case tag.command == payments.CommandPay:
		readPayment(m, text, tag.hashtag, &parsed)
	default:
		readOther(text, tag.hashtag, &parsed)
	}
	return parsed
}

// maxRoom bounds the characters of a room that is kept: most texts have 280.
const maxRoom = 4096

// leave keeps a room for the next text, without what this one said.
func (p *Parser) leave(text *scanned) {
	if cap(text.chars) > maxRoom {
		return
	}
	text.text = ""
	clear(text.mentions)
	p.rooms.Put(text)
}

// notOurs tells from the message's frame, without reading it, that it is no
// command to us.
func (p *Parser) notOurs(m *payments.Message) payments.IgnoreReason {
	switch {
	case m.Kind == payments.Repost || startsRepost(m.Text):
		return payments.IgnoredRepost
	case m.AuthorID == p.bankID:
		return payments.IgnoredOwn
	case len(m.Text) > maxTextBytes || (len(m.Text) > maxTextRunes && utf8.RuneCountInString(m.Text) > maxTextRunes):
		return payments.IgnoredTooLong
	}
	return ""
}

// startsRepost recognises the way in which retweets are written in archives and
// by hand.
func startsRepost(text string) bool {
	return strings.HasPrefix(text, "RT @")
}

// readPayment sets parsed's Command, or its Refusal. The amount is judged before
// the payee: it is what people get wrong.
func readPayment(m *payments.Message, text *scanned, tag *hashtag, parsed *payments.Parsed) {
	payee, payeeRefusal := text.payee(m.Kind)
	if second := secondPayment(text.tags); second != nil &&
		(len(text.found) > 1 || (payeeRefusal != nil && payeeRefusal.Code == payments.RefusedTwoPayees)) {
		parsed.Refusal = text.refusal(payments.RefusedTwoCommands, text.tokens[second.token])
		return
	}
	amount, amountRefusal := text.theAmount()
	switch {
	case amountRefusal != nil:
		parsed.Refusal = amountRefusal
	case payeeRefusal != nil:
		parsed.Refusal = payeeRefusal
	default:
		parsed.Command = &payments.Command{
			Name:        payments.CommandPay,
			Hashtag:     tag.tag,
			Amount:      amount,
			Currency:    ledger.EUR,
			PayeeID:     payee.UserID,
			PayeeHandle: payee.Handle,
			Language:    parsed.Language,
		}
	}
}

// secondPayment returns the second hashtag that pays, or nil.
func secondPayment(tags []commandTag) *commandTag {
	seen := 0
	for i := range tags {
		if tags[i].pays() {
			if seen++; seen == 2 {
				return &tags[i]
			}
		}
	}
	return nil
}

// readOther sets parsed's Command to one that moves no money.
func readOther(text *scanned, tag *hashtag, parsed *payments.Parsed) {
	command := &payments.Command{Name: tag.command, Hashtag: tag.tag, Language: tag.language}
	if tag.command == payments.CommandCancel {
		var second *token
		if command.Reference, second = text.reference(); second != nil {
			parsed.Refusal = text.refusal(payments.RefusedTwoCommands, *second)
			return
		}
	}
	parsed.Command = command
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
// ids for one handle are no answer, and what is no handle as it was written (letters
// of another script, characters inside that cannot be seen) names nobody.
func (p *Parser) resolve(m *payments.Message, handle string) (payments.Mention, party) {
	var found payments.Mention
	if !validHandle(handle) {
		return found, unresolved
	}
	for i := range m.Mentions[:min(len(m.Mentions), maxMentions)] {
		mention := &m.Mentions[i]
		if len(mention.Handle) != len(handle) || !strings.EqualFold(mention.Handle, handle) {
			continue
		}
		if !validID(mention.UserID) || (found.UserID != "" && found.UserID != mention.UserID) {
			return payments.Mention{}, unresolved
		}
		found = *mention
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

// mentioned is a mention of the text, and whom it named.
type mentioned struct {
	token int
	who   party
	named payments.Mention
}

// findMentions collects whom the text mentions, in order, and reports whether the
// bank is among them: by id where the channel resolved the handle, by handle where it
// did not, since nothing is bound to the bank's own mention.
func (p *Parser) findMentions(m *payments.Message, text *scanned) bool {
	bank := false
	text.mentions = text.mentions[:0]
	for i, t := range text.tokens {
		if t.kind == mentionToken {
			named, who := p.resolve(m, text.original(t, 1))
			text.mentions = append(text.mentions, mentioned{i, who, named})
			bank = bank || who == theBank
		}
	}
	return bank
}

// payee returns the one user beside the bank whom the text mentions, or why
// there is not exactly one. Mentioning the same payee twice names one payee.
func (s *scanned) payee(kind payments.MessageKind) (payments.Mention, *payments.Refusal) {
	var (
		payee             payments.Mention
		payeeAt, lastBank int
		banks             int
		selfFound         bool
	)
	for _, mention := range s.mentions {
		if s.tokens[mention.token].kind != mentionToken {
			continue // quoted
		}
		switch mention.who {
		case unresolved:
			return payee, s.refusal(payments.RefusedUnresolved, s.tokens[mention.token])
		case theBank:
			banks, lastBank = banks+1, mention.token
			continue
		case thePayer:
			selfFound = true
		case someoneElse:
		}
		if payee.UserID != "" && payee.UserID != mention.named.UserID {
			return payee, s.refusal(payments.RefusedTwoPayees, s.tokens[mention.token])
		}
		payee, payeeAt = mention.named, mention.token
	}
	switch {
	case payee.UserID != "" && selfFound:
		return payee, s.refusal(payments.RefusedSelf, s.tokens[payeeAt])
	case payee.UserID != "":
		return payee, nil
	case banks > 1 || (banks > 0 && kind == payments.Direct): // a direct message need not call the bank
		return payee, s.refusal(payments.RefusedBank, s.tokens[lastBank])
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

// clip shortens foreign text so that an error stays one readable line.
func clip(s string) string {
	const most = 60
	runes := []rune(s)
	if len(runes) <= most {
		return s
	}
	return string(runes[:most]) + "…"
}
