package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// mode is how a batch goes to work.
type mode int

const (
	// cautious looks up keys, locks and reads what it needs, judges, then writes.
	cautious mode = iota
	// hopeful writes first what would be right if every key were new, every limit
	// kept and every period open; the database's constraints, and the balances
	// that come back, tell if that was so. Where it was not, the database
	// transaction is given up and the batch starts again cautiously. It saves the
	// look-ups and half of the round trips where refusals and repeats are rare.
	hopeful
)

// errHopeless says that a batch has to start again cautiously.
var errHopeless = errors.New("a request was repeated or has to be refused")

// apply carries requests out in tx: it loads and locks what they touch, judges
// them in memory one after the other (setting one against the other would hide
// overdrafts), and writes what was accepted set-wise. An error is a failure of
// the database, or errHopeless; refusals are in the outcomes.
func (e *Engine) apply(ctx context.Context, tx *sqldb.Tx, requests []asked, how mode) ([]Outcome, error) {
	b := &batch{
		engine:   e,
		tx:       tx,
		mode:     how,
		requests: requests,
		outcomes: make([]Outcome, len(requests)),
		known:    make(map[uuid.UUID]known, len(requests)),
		holds:    map[uuid.UUID]*holdState{},
		made:     make(map[uuid.UUID]*ledger.Transaction, len(requests)),
		undone:   map[place]uuid.UUID{},
		accounts: make(map[uuid.UUID]*accountState, 2*len(requests)),
	}
	if err := b.load(ctx); err != nil {
		return nil, err
	}
	for i := range requests {
		b.outcomes[i] = b.judge(i)
		if how == hopeful && b.outcomes[i].Err != nil {
			return nil, errHopeless
		}
	}
	if err := b.write(ctx); err != nil {
		return nil, err
	}
	if err := b.replay(ctx); err != nil {
		return nil, err
	}
	return b.outcomes, nil
}

// asked is a request with what identifies it, which its caller has worked out so
// that the loop, of which there is one, need not.
type asked struct {
	ledger.Request
	id   uuid.UUID // of its key
	hash [sha256.Size]byte
}

// ask takes what a request refers to for itself: a caller who has given up waiting
// may use the slices and maps again while the request is still carried out.
func ask(r ledger.Request) asked {
	switch q := r.(type) {
	case ledger.PostRequest:
		q.Postings, q.Metadata, q.Conditions = slices.Clone(q.Postings), maps.Clone(q.Metadata), slices.Clone(q.Conditions)
		for i, c := range q.Conditions {
			q.Conditions[i].Version, q.Conditions[i].Balance = cloneOf(c.Version), cloneOf(c.Balance)
		}
		r = q
	case ledger.PostHoldRequest:
		q.Metadata = maps.Clone(q.Metadata)
		r = q
	case ledger.ReverseRequest:
		q.Postings, q.Metadata = slices.Clone(q.Postings), maps.Clone(q.Metadata)
		r = q
	}
	return asked{Request: r, id: ledger.IDOfKey(r.IdempotencyKey()), hash: r.Hash()}
}

func cloneOf[T any](v *T) *T {
	if v == nil {
		return nil
	}
	c := *v
	return &c
}

// batch is the work of one database transaction.
type batch struct {
	engine   *Engine
	tx       *sqldb.Tx
	mode     mode
	requests []asked
	outcomes []Outcome

	known    map[uuid.UUID]known // by id: requests carried out before, or in this batch
	holds    map[uuid.UUID]*holdState
	made     map[uuid.UUID]*ledger.Transaction // originals to be reversed, and transactions of this batch
	undone   map[place]uuid.UUID               // postings that were reversed, and by which transaction
	accounts map[uuid.UUID]*accountState
	closed   []ledger.Period // periods that are not open, where mode is cautious

	at           time.Time // of recording: the first page's, and what happens to holds
	pages        []*page
	transactions []newTransaction
	newHolds     []*holdState
	releases     []release
	replays      []int      // indexes of requests that were carried out before
	steps        [][]change // what was accepted, in order
}

// known is a request that was carried out.
type known struct {
	hash  [sha256.Size]byte
	place *place // of its transaction; nil for a hold or its release
}

type holdState struct {
	ledger.Hold
	hash    [sha256.Size]byte
	isNew   bool
	changed bool
}

type newTransaction struct {
	*ledger.Transaction
	hash  [sha256.Size]byte
	place place
}

type release struct {
	id     uuid.UUID
	key    string
	hash   [sha256.Size]byte
	hold   uuid.UUID
	amount ledger.Amount
	at     time.Time
}

// accountState is an account as the batch sees it. balance is what the database
// has, plus delta, where read says that it was read; otherwise only delta is known.
type accountState struct {
	numberedAccount
	read    bool
	balance ledger.Balance
	// unsummable says that its shards come to more than 64 bits hold together.
	unsummable error
	delta      delta
}

// usedBefore refuses a key that another request has; what that one made has id.
func usedBefore(key string, id uuid.UUID, before known) error {
	what := "hold or release " + id.String()
	if before.place != nil {
		what = fmt.Sprintf("transaction %s, effective %s", id, firstDay.AddDays(int(before.place.page>>slotBits)))
	}
	return ledger.Errorf(ledger.CodeConflict, "the idempotency key %q was used before for another request (%s); use a new key, or repeat that request as it was",
		key, what).InField("key")
}

// change is what a request changes of an account.
type change struct {
	account *accountState
	delta   delta
}

// delta is what a batch, or one request, changes of a balance.
type delta struct {
	debitsPosted, creditsPosted, debitsPending, creditsPending ledger.Amount
}

func (d *delta) add(other delta) error {
	for _, sum := range []struct {
		to *ledger.Amount
		by ledger.Amount
	}{
		{&d.debitsPosted, other.debitsPosted}, {&d.creditsPosted, other.creditsPosted},
		{&d.debitsPending, other.debitsPending}, {&d.creditsPending, other.creditsPending},
	} {
		total, err := sum.to.Add(sum.by)
		if err != nil {
			return err
		}
		*sum.to = total
	}
	return nil
}

func (d delta) isZero() bool { return d == delta{} }

// judge decides about one request and notes what is to be written for it.
func (b *batch) judge(i int) Outcome {
	id, hash := b.requests[i].id, b.requests[i].hash
	if before, ok := b.known[id]; ok {
		if !bytes.Equal(before.hash[:], hash[:]) {
			return Outcome{Err: usedBefore(b.requests[i].IdempotencyKey(), id, before)}
		}
		b.replays = append(b.replays, i)
		return Outcome{Replayed: true}
	}
	var out Outcome
	switch r := b.requests[i].Request.(type) {
	case ledger.PostRequest:
		out = b.post(id, hash, r)
	case ledger.HoldRequest:
		out = b.hold(id, hash, r)
	case ledger.PostHoldRequest:
		out = b.postHold(id, hash, r)
	case ledger.VoidHoldRequest:
		out = b.voidHold(id, hash, r)
	case ledger.ReverseRequest:
		out = b.reverse(id, hash, r)
	default:
		out = Outcome{Err: ledger.Errorf(ledger.CodeInvalid, "the engine does not know requests of type %T", r)}
	}
	if out.Err == nil {
		b.known[id] = known{hash: hash, place: b.placeOf(out)}
	}
	return out
}

// placeOf returns where the transaction of an outcome lies, or nil for a hold.
func (b *batch) placeOf(out Outcome) *place {
	if out.Transaction.ID == uuid.Nil {
		return nil
	}
	return &b.transactions[len(b.transactions)-1].place
}

func (b *batch) post(id uuid.UUID, hash [sha256.Size]byte, r ledger.PostRequest) Outcome {
	if err := b.holdsTrue(r.Conditions); err != nil {
		return Outcome{Err: err}
	}
	t := &ledger.Transaction{
		ID: id, Key: r.Key, Journal: r.Journal, Label: r.Label, EffectiveDate: r.EffectiveDate,
		Source: r.Source, Metadata: r.Metadata, Postings: r.Postings,
	}
	return b.record(t, hash, r.Adjustment, nil)
}

// holdsTrue checks that accounts stand as the caller of a conditional request
// saw them.
func (b *batch) holdsTrue(conditions []ledger.Condition) error {
	for i, c := range conditions {
		account, ok := b.accounts[c.AccountID]
		failed := func(what string, is, want any) error {
			return ledger.Errorf(ledger.CodeConditionFailed, "the %s of account %s is %v, not %v; read it again and decide anew",
				what, account.Code, is, want).InField(fmt.Sprintf("conditions[%d]", i))
		}
		switch {
		case !ok:
			return ledger.Errorf(ledger.CodeNotFound, "there is no account %s", c.AccountID).InField(fmt.Sprintf("conditions[%d].account_id", i))
		case account.unsummable != nil:
			return account.unsummable
		case c.Version != nil && *c.Version != account.version():
			return failed("version", account.version(), *c.Version)
		case c.Balance != nil && *c.Balance != account.balance.Posted():
			return failed("balance", account.balance.Posted().Format(account.Currency), c.Balance.Format(account.Currency))
		}
	}
	return nil
}

// version is the one that the next reader will see if the batch ends here.
func (a *accountState) version() int64 {
	if a.delta.isZero() {
		return a.balance.Version
	}
	return a.balance.Version + 1
}

// record judges and notes a transaction. release is what the holds behind it
// give back at the same time.
func (b *batch) record(t *ledger.Transaction, hash [sha256.Size]byte, adjustment bool, release []change) Outcome {
	changes := append(make([]change, 0, 2*len(t.Postings)+len(release)), release...)
	var err *ledger.Error
	for i, p := range t.Postings {
		if err := b.usable(p); err != nil {
			return Outcome{Err: err.InField(fmt.Sprintf("postings[%d].%s", i, err.Field))}
		}
		changes, err = b.change(changes, p, delta{debitsPosted: p.Amount}, delta{creditsPosted: p.Amount})
		if err != nil {
			return Outcome{Err: err.InField(fmt.Sprintf("postings[%d].amount", i))}
		}
	}
	if t.EffectiveDate.IsZero() {
		t.EffectiveDate = b.engine.Today()
	}
	if err := b.inOpenPeriod(t.EffectiveDate, adjustment); err != nil {
		return Outcome{Err: err}
	}
	if err := b.try(changes); err != nil {
		return Outcome{Err: err}
	}
	at := b.place(t, adjustment)
	b.made[t.ID] = t
	b.transactions = append(b.transactions, newTransaction{t, hash, at})
	return Outcome{Transaction: *t}
}

// place puts a transaction on the batch's last page, or on a new one where the
// date is another: pages are sealed one after the other, and so that no limit is
// passed on the way their order is that in which transactions were judged.
func (b *batch) place(t *ledger.Transaction, adjustment bool) place {
	var last *page
	if n := len(b.pages); n > 0 {
		last = b.pages[n-1]
	}
	if last == nil || last.date != t.EffectiveDate || last.adjustment != adjustment {
		last = &page{date: t.EffectiveDate, adjustment: adjustment, recorded: b.now()}
		if len(b.pages) > 0 {
			last.recorded = b.engine.recordedTime()
		}
		last.id = pageID(last.date, last.recorded)
		b.pages = append(b.pages, last)
	}
	at := place{last.id, last.lines}
	t.RecordedAt, t.Place = last.recorded, ledger.Cursor{PageID: at.page, Line: at.line}
	last.transactions++
	last.lines += int64(len(t.Postings))
	return at
}

// now returns the recording time of the batch.
func (b *batch) now() time.Time {
	if b.at.IsZero() {
		b.at = b.engine.recordedTime()
	}
	return b.at
}

// inOpenPeriod refuses dates in closed periods. A hopeful batch does not know
// them: there the statement that writes a page finds out.
func (b *batch) inOpenPeriod(d ledger.Date, adjustment bool) error {
	for _, p := range b.closed {
		if !d.Before(p.From) && !p.To.Before(d) {
			return p.Check(adjustment)
		}
	}
	return nil
}

// change adds what a posting changes of its two accounts, which are known.
func (b *batch) change(changes []change, p ledger.Posting, debit, credit delta) ([]change, *ledger.Error) {
	for _, side := range [...]change{{b.accounts[p.Debit], debit}, {b.accounts[p.Credit], credit}} {
		i := slices.IndexFunc(changes, func(c change) bool { return c.account == side.account })
		if i < 0 {
			changes = append(changes, side)
			continue
		}
		if err := changes[i].delta.add(side.delta); err != nil {
			return nil, ledger.Errorf(ledger.CodeOverflow, "the postings to one account add up to more than 64 bits hold: %w", err)
		}
	}
	return changes, nil
}

// usable checks that both accounts of a posting exist, are open, and are in its
// currency. The error's field is debit or credit.
func (b *batch) usable(p ledger.Posting) *ledger.Error {
	for _, side := range [...]struct {
		id   uuid.UUID
		name string
	}{{p.Debit, "debit"}, {p.Credit, "credit"}} {
		account, ok := b.accounts[side.id]
		switch {
		case !ok:
			return ledger.Errorf(ledger.CodeNotFound, "there is no account %s", side.id).InField(side.name)
		case account.Status != ledger.AccountOpen:
			return ledger.Errorf(ledger.CodeAccountClosed, "account %s is closed", account.Code).InField(side.name)
		case account.Currency != p.Currency:
			return ledger.Errorf(ledger.CodeCurrencyMismatch, "account %s is in %s, not in %s",
				account.Code, account.Currency, p.Currency).InField(side.name)
		}
	}
	return nil
}

// try applies changes to the accounts in memory if every bound allows all of
// them together, and leaves everything as it was otherwise.
func (b *batch) try(changes []change) error {
	slices.SortFunc(changes, func(a, b change) int { return compareIDs(a.account.ID, b.account.ID) }) // the same refusal for the same request
	before := make([]accountState, len(changes))
	for i, c := range changes {
		before[i] = *c.account
		err := c.account.add(c.delta)
		if err == nil && c.account.read {
			err = c.account.apply(c.delta)
		}
		if err != nil {
			for j := range i + 1 {
				*changes[j].account = before[j]
			}
			return err
		}
	}
	if b.mode == hopeful {
		b.steps = append(b.steps, changes)
	}
	return nil
}

func compareIDs(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) }

func (a *accountState) overflow(err error) error {
	return ledger.Errorf(ledger.CodeOverflow, "the balance of account %s would leave the range of 64 bits: %w", a.Code, err)
}

// add notes d for the account.
func (a *accountState) add(d delta) error {
	if err := a.delta.add(d); err != nil {
		return a.overflow(err)
	}
	return nil
}

// apply adds d to the balance that was read and checks its bounds.
func (a *accountState) apply(d delta) error {
	total := delta{a.balance.DebitsPosted, a.balance.CreditsPosted, a.balance.DebitsPending, a.balance.CreditsPending}
	if err := total.add(d); err != nil {
		return a.overflow(err)
	}
	before := a.balance
	a.balance.DebitsPosted, a.balance.CreditsPosted = total.debitsPosted, total.creditsPosted
	a.balance.DebitsPending, a.balance.CreditsPending = total.debitsPending, total.creditsPending
	// A request that improves a balance is never refused for where it still stands.
	if a.Min != nil && a.balance.Available() < *a.Min && a.balance.Available() < before.Available() {
		return ledger.Errorf(ledger.CodeInsufficientFunds, "account %s has %s %s available, and may not fall below %s",
			a.Code, before.Available().Format(a.Currency), a.Currency, a.Min.Format(a.Currency))
	}
	if a.Max != nil && a.balance.Expected() > *a.Max && a.balance.Expected() > before.Expected() {
		return ledger.Errorf(ledger.CodeLimitExceeded, "account %s stands at %s %s with what is expected, and may not rise above %s",
			a.Code, before.Expected().Format(a.Currency), a.Currency, a.Max.Format(a.Currency))
	}
	return nil
}

func (b *batch) hold(id uuid.UUID, hash [sha256.Size]byte, r ledger.HoldRequest) Outcome {
	if !r.ExpiresAt.IsZero() && !r.ExpiresAt.After(b.engine.Now()) {
		return Outcome{Err: ledger.Errorf(ledger.CodeInvalid, "the hold would have expired at %s",
			r.ExpiresAt.UTC().Format(time.RFC3339)).InField("expires_at")}
	}
	p := ledger.Posting{Debit: r.Debit, Credit: r.Credit, Amount: r.Amount, Currency: r.Currency}
	if err := b.usable(p); err != nil {
		return Outcome{Err: err}
	}
	if err := b.try([]change{
		{b.accounts[r.Debit], delta{debitsPending: r.Amount}},
		{b.accounts[r.Credit], delta{creditsPending: r.Amount}},
	}); err != nil {
		return Outcome{Err: err}
	}
	h := &holdState{hash: hash, isNew: true, Hold: ledger.Hold{
		ID: id, Key: r.Key, Debit: r.Debit, Credit: r.Credit, Amount: r.Amount, Currency: r.Currency,
		Status: ledger.HoldPending, ExpiresAt: r.ExpiresAt.UTC().Truncate(time.Microsecond),
		RecordedAt: b.now(), Source: r.Source,
	}}
	if r.ExpiresAt.IsZero() {
		h.ExpiresAt = time.Time{}
	}
	b.holds[id] = h
	b.newHolds = append(b.newHolds, h)
	return Outcome{Hold: h.Hold}
}

// pending returns the hold if it can still be posted or voided.
func (b *batch) pending(id uuid.UUID) (*holdState, error) {
	h, ok := b.holds[id]
	switch {
	case !ok:
		return nil, ledger.Errorf(ledger.CodeNotFound, "there is no hold %s", id).InField("hold_id")
	case h.Status != ledger.HoldPending:
		return nil, ledger.Errorf(ledger.CodeHoldClosed, "hold %s was %s at %s",
			id, h.Status, h.ClosedAt.Format(time.RFC3339)).InField("hold_id")
	}
	return h, nil
}

func (h *holdState) due(now time.Time) bool { return !h.ExpiresAt.IsZero() && !now.Before(h.ExpiresAt) }

func (b *batch) postHold(id uuid.UUID, hash [sha256.Size]byte, r ledger.PostHoldRequest) Outcome {
	h, err := b.pending(r.HoldID)
	if err != nil {
		return Outcome{Err: err}
	}
	if h.due(b.engine.Now()) {
		return Outcome{Err: ledger.Errorf(ledger.CodeHoldClosed, "hold %s expired at %s",
			r.HoldID, h.ExpiresAt.Format(time.RFC3339)).InField("hold_id")}
	}
	amount := r.Amount
	if amount == 0 {
		amount = h.Remaining()
	}
	if amount > h.Remaining() {
		return Outcome{Err: ledger.Errorf(ledger.CodeHoldClosed, "hold %s has %s %s left, less than %s", r.HoldID,
			h.Remaining().Format(h.Currency), h.Currency, amount.Format(h.Currency)).InField("amount")}
	}
	freed := amount
	if r.ReleaseRest {
		freed = h.Remaining()
	}
	t := &ledger.Transaction{
		ID: id, Key: r.Key, Journal: r.Journal, Label: r.Label, EffectiveDate: r.EffectiveDate,
		Source: h.Source, Metadata: r.Metadata, HoldID: h.ID,
		Postings: []ledger.Posting{{Debit: h.Debit, Credit: h.Credit, Amount: amount, Currency: h.Currency}},
	}
	out := b.record(t, hash, r.Adjustment, b.freed(h, freed))
	if out.Err != nil {
		return out
	}
	h.Posted += amount
	h.changed = true
	if freed == amount && h.Posted < h.Amount {
		return out
	}
	h.Status, h.ClosedAt = ledger.HoldPosted, out.Transaction.RecordedAt
	return out
}

func (b *batch) voidHold(id uuid.UUID, hash [sha256.Size]byte, r ledger.VoidHoldRequest) Outcome {
	h, err := b.pending(r.HoldID)
	if err != nil {
		return Outcome{Err: err}
	}
	status := ledger.HoldVoided
	if r.Expired {
		if !h.due(b.engine.Now()) {
			return Outcome{Err: ledger.Errorf(ledger.CodeInvalid, "hold %s has not expired yet", r.HoldID).InField("expired")}
		}
		status = ledger.HoldExpired
	}
	rest := h.Remaining()
	if err := b.try(b.freed(h, rest)); err != nil {
		return Outcome{Err: err}
	}
	h.Status, h.ClosedAt, h.changed = status, b.now(), true
	b.releases = append(b.releases, release{id: id, key: r.Key, hash: hash, hold: h.ID, amount: rest, at: h.ClosedAt})
	return Outcome{Hold: h.Hold}
}

// freed is what both accounts of a hold get back.
func (b *batch) freed(h *holdState, amount ledger.Amount) []change {
	return []change{
		{b.accounts[h.Debit], delta{debitsPending: -amount}},
		{b.accounts[h.Credit], delta{creditsPending: -amount}},
	}
}

func (b *batch) reverse(id uuid.UUID, hash [sha256.Size]byte, r ledger.ReverseRequest) Outcome {
	original, ok := b.made[r.TransactionID]
	if !ok {
		return Outcome{Err: ledger.Errorf(ledger.CodeNotFound, "there is no transaction %s", r.TransactionID).InField("transaction_id")}
	}
	ordinals := r.Postings
	if len(ordinals) == 0 {
		ordinals = make([]int, len(original.Postings))
		for i := range ordinals {
			ordinals[i] = i
		}
	}
	date := r.EffectiveDate
	if date.IsZero() {
		date = b.engine.Today()
		if date.Before(original.EffectiveDate) {
			date = original.EffectiveDate
		}
	}
	if date.Before(original.EffectiveDate) {
		return Outcome{Err: ledger.Errorf(ledger.CodeInvalid, "transaction %s is effective on %s and cannot be undone before, on %s; give its date or a later one",
			original.ID, original.EffectiveDate, date).InField("effective_date")}
	}
	t := &ledger.Transaction{
		ID: id, Key: r.Key, Journal: original.Journal, Label: r.Label, EffectiveDate: date,
		Source: original.Source, Metadata: r.Metadata, Reverses: original.ID,
		Postings: make([]ledger.Posting, len(ordinals)),
	}
	at := b.known[original.ID].place
	for i, ordinal := range ordinals {
		if ordinal >= len(original.Postings) {
			return Outcome{Err: ledger.Errorf(ledger.CodeInvalid, "transaction %s has postings 1 to %d; there is no %d",
				original.ID, len(original.Postings), ordinal+1).InField(fmt.Sprintf("postings[%d]", i))}
		}
		if by, ok := b.undone[place{at.page, at.line + int64(ordinal)}]; ok {
			return Outcome{Err: alreadyReversed(original, ordinal, by)}
		}
		p := original.Postings[ordinal]
		t.Postings[i] = ledger.Posting{Debit: p.Credit, Credit: p.Debit, Amount: p.Amount, Currency: p.Currency,
			Reverses: ledger.PostingRef{TransactionID: original.ID, Ordinal: ordinal}}
	}
	out := b.record(t, hash, r.Adjustment, nil)
	if out.Err == nil {
		for _, ordinal := range ordinals {
			b.undone[place{at.page, at.line + int64(ordinal)}] = id
		}
	}
	return out
}

// alreadyReversed counts postings from 1, for people to read.
func alreadyReversed(original *ledger.Transaction, ordinal int, by uuid.UUID) error {
	if len(original.Postings) == 1 {
		return ledger.Errorf(ledger.CodeAlreadyReversed, "transaction %s was reversed before, by %s", original.ID, by).InField("transaction_id")
	}
	return ledger.Errorf(ledger.CodeAlreadyReversed, "posting %d of the %d of transaction %s was reversed before, by %s",
		ordinal+1, len(original.Postings), original.ID, by).InField("transaction_id")
}
