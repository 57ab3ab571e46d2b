package reconciliation

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"
	"strings"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// Job names what is reconciled.
type Job string

// The jobs.
const (
	JobTweets  Job = "tweets"
	JobPayouts Job = "payouts"
	JobCards   Job = "cards"

	JobSafeguarding Job = "safeguarding"
)

// Jobs returns all jobs.
func Jobs() []Job { return []Job{JobTweets, JobPayouts, JobCards, JobSafeguarding} }

// readsTheBook reports whether a job reads all that it compares from the database, so
// that what it does not find of a day is not there. A history of tweets may be a part.
func (j Job) readsTheBook() bool { return j != JobTweets }

// Class says what kind of difference a break is.
type Class string

// The classes.
const (
	MissingInLedger Class = "missing_in_ledger" // outside there, but not in the book or its orders
	MissingOutside  Class = "missing_outside"   // in the book, but nothing outside accounts for it
	AmountDiffers   Class = "amount_differs"
	WrongParty      Class = "wrong_party" // paid by or to somebody else
	Duplicate       Class = "duplicate"
	Late            Class = "late" // should have happened by now
	Edited          Class = "edited_after_confirmation"
	TextDeleted     Class = "text_deleted" // informative: the text is gone, the payment is in order
	SequenceGap     Class = "sequence_gap"
	UnknownMoney    Class = "unknown_money" // on the bank account, and nothing explains it
	Shortfall       Class = "shortfall"     // customers' money is not all on the safeguarding account
	OtherContent    Class = "other_content" // the bank or an acquirer has sent something again, with other content
	Contradiction   Class = "contradiction" // what the bank says of something contradicts the book
	Unreadable      Class = "unreadable"    // informative: something outside that cannot be taken
)

// Break is one difference between the sides.
type Break struct {
	// Key is the same in every run that finds this difference, so that a later run
	// can tell an old break from a new one.
	Key       string
	Class     Class
	Reference string // an edit chain's key, an end-to-end id, a transaction, a statement
	Subject   string // the payee that it concerns; empty: none
	Amount    ledger.Amount
	Currency  ledger.Currency
	Date      ledger.Date
	Message   string // one line: what, where, how much, what to do
	// Suggestion is what may explain it, for a person to judge; mostly empty.
	Suggestion string `json:",omitempty"`
	// Tweet is the message that never arrived, where feeding it into the inbox
	// would mend the break; Fed is what became of it where that was asked for.
	Tweet *payments.Message `json:",omitempty"`
	Fed   string            `json:",omitempty"`
}

// Match counts what one matcher has matched.
type Match struct {
	Matcher string
	Count   int
}

// Total is a sum that a run has made on its way, for people to compare.
type Total struct {
	Name     string // "donations", "commission"
	Count    int
	Amount   ledger.Amount
	Currency ledger.Currency
}

// Result is what a run found. It is the same for the same inputs, whatever the
// order in which they came.
type Result struct {
	Job      Job
	From, To ledger.Date // inclusive, Paris dates
	Subject  string      // a payee's code where the run was limited to it
	At       time.Time   // when it ran, UTC
	Matches  []Match     // by matcher, in order of their names
	Totals   []Total
	// Open counts what is not finished and not late: orders to be confirmed,
	// donations to be paid out, payouts that the bank has yet to book.
	Open   int
	Breaks []Break // by reference, class and message
	Notes  []Break // what people should know and need not act on; in the same order
	// InputsHash is the SHA-256, in hex, of all that was compared, so that an
	// auditor who repeats the run knows that it is the same one.
	InputsHash string
	// Days are digests, in hex, of what was compared of each day, so that a run which
	// came out differently says where to look.
	Days map[string]string
}

// MaxBreaks bounds the breaks of one run. Who has more has a problem that no list
// of them solves.
const MaxBreaks = 50_000

// run collects a result.
type run struct {
	result  Result
	matches map[string]int
	inputs  *hasher
	watch   Watch
	// subject is the payee that is judged now: breaks are of it.
	subject string
}

func newRun(job Job, from, to ledger.Date, subject string, at time.Time) *run {
	r := &run{result: Result{Job: job, From: from, To: to, Subject: subject, At: at}, matches: map[string]int{}, inputs: newHasher()}
	r.inputs.text("reconciliation/1", string(job), from.String(), to.String(), subject)
	return r
}

func (r *run) matched(matcher string) { r.matches[matcher]++ }

func (r *run) addBreak(b Break) error {
	if len(r.result.Breaks) == MaxBreaks {
		return ledger.Errorf(ledger.CodeLimitExceeded, "more than %d breaks between %s and %s; reconcile a shorter period", MaxBreaks, r.result.From, r.result.To).InField("period")
	}
	r.result.Breaks = append(r.result.Breaks, r.keyed(b))
	return nil
}

// addNote keeps what is informative, as many as there may be breaks; further ones
// tell nobody anything new.
func (r *run) addNote(b Break) {
	if len(r.result.Notes) < MaxBreaks {
		r.result.Notes = append(r.result.Notes, r.keyed(b))
	}
}

func (r *run) keyed(b Break) Break {
	if b.Key == "" {
		b.Key = fmt.Sprintf("%s/%s/%s", r.result.Job, b.Class, b.Reference)
	}
	b.Key = boundedKey(b.Key)
	b.Subject = cmp.Or(b.Subject, r.subject)
	return b
}

// done puts the result into its order.
func (r *run) done() Result {
	for name, count := range r.matches {
		r.result.Matches = append(r.result.Matches, Match{name, count})
	}
	slices.SortFunc(r.result.Matches, func(a, b Match) int { return strings.Compare(a.Matcher, b.Matcher) })
	order := func(a, b Break) int {
		return cmp.Or(strings.Compare(a.Reference, b.Reference), cmp.Compare(a.Class, b.Class), strings.Compare(a.Key, b.Key), strings.Compare(a.Message, b.Message))
	}
	slices.SortStableFunc(r.result.Breaks, order)
	slices.SortStableFunc(r.result.Notes, order)
	r.result.InputsHash, r.result.Days = hex.EncodeToString(r.inputs.h.Sum(nil)), r.inputs.digests()
	return r.result
}

// boundedKey keeps a key that names from outside have made long within maxKey.
func boundedKey(key string) string {
	if len(key) <= maxKey {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return strings.ToValidUTF8(key[:maxKey-2*len(sum)-1], "") + "/" + hex.EncodeToString(sum[:])
}

// hasher feeds length-prefixed fields to SHA-256, so that no two inputs are
// spelled alike: to the one of the run, and to the one of the day that they are of.
type hasher struct {
	h    hash.Hash
	day  hash.Hash // nil: of no day
	days map[ledger.Date]hash.Hash
}

func newHasher() *hasher { return &hasher{h: sha256.New(), days: map[ledger.Date]hash.Hash{}} }

// on says of which day the next fields are; the zero date is no day.
func (h *hasher) on(d ledger.Date) {
	if d.IsZero() {
		h.day = nil
		return
	}
	if h.days[d] == nil {
		h.days[d] = sha256.New()
	}
	h.day = h.days[d]
}

// daySum is how many bytes of a day's digest are kept: it tells accidents apart, and
// the digest of the run proves the rest.
const daySum = 8

func (h *hasher) digests() map[string]string {
	list := make(map[string]string, len(h.days))
	for day, sum := range h.days {
		list[day.String()] = hex.EncodeToString(sum.Sum(nil)[:daySum])
	}
	return list
}

func (h *hasher) write(p []byte) {
	h.h.Write(p)
	if h.day != nil {
		h.day.Write(p)
	}
}

func (h *hasher) number(numbers ...int64) {
	var buf [8]byte
	for _, n := range numbers {
		binary.BigEndian.PutUint64(buf[:], uint64(n))
		h.write(buf[:])
	}
}

func (h *hasher) text(fields ...string) {
	for _, s := range fields {
		h.number(int64(len(s)))
		h.write([]byte(s))
	}
}

// money writes an amount with its currency: "20.00 EUR".
func money(a ledger.Amount, c ledger.Currency) string { return a.Format(c) + " " + string(c) }

// sayings joins what each source says: "the order 20.00 EUR, the ledger 25.00 EUR".
func sayings(items []Item, what func(Item) string) string {
	parts := make([]string, 0, len(items))
	for _, item := range items {
		if said := what(item); said != "" {
			parts = append(parts, item.Source+" "+said)
		}
	}
	return strings.Join(parts, ", ")
}

// differences makes a break of each way in which items of one reference differ.
func differences(items []Item, what, remedy string) []Break {
	var breaks []Break
	first := items[0]
	if !sameMoney(items) {
		breaks = append(breaks, Break{Class: AmountDiffers, Reference: first.Reference, Amount: spread(items), Currency: first.Currency, Date: first.Date,
			Message: fmt.Sprintf("%s: amounts differ: %s; %s", what, sayings(items, func(i Item) string { return money(i.Amount, i.Currency) }), remedy)})
	}
	if !sameCounterparty(items) {
		breaks = append(breaks, Break{Class: WrongParty, Reference: first.Reference, Amount: first.Amount, Currency: first.Currency, Date: first.Date,
			Message: fmt.Sprintf("%s: parties differ: %s; %s", what, sayings(items, func(i Item) string { return i.Counterparty }), remedy)})
	}
	return breaks
}

func checkPeriod(from, to ledger.Date) error {
	switch {
	case from.IsZero():
		return ledger.Errorf(ledger.CodeInvalid, "give the first day of the period").InField("from")
	case to.IsZero():
		return ledger.Errorf(ledger.CodeInvalid, "give the last day of the period").InField("to")
	case to.Before(from):
		return ledger.Errorf(ledger.CodeInvalid, "the period ends on %s, before it begins on %s", to, from).InField("to")
	}
	return nil
}
