package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// apply carries requests out in tx: it looks up their keys, loads and locks what
// they touch, judges them in memory one after the other (setting one against the
// other would hide overdrafts), and writes what was accepted set-wise. An error
// is a failure of the database; refusals are in the outcomes.
func (e *Engine) apply(ctx context.Context, tx *sqldb.Tx, requests []ledger.Request) ([]Outcome, error) {
	b := &batch{
		engine:   e,
		tx:       tx,
		requests: requests,
		ids:      make([]uuid.UUID, len(requests)),
		outcomes: make([]Outcome, len(requests)),
		known:    map[uuid.UUID]known{},
		holds:    map[uuid.UUID]*holdState{},
		made:     map[uuid.UUID]*ledger.Transaction{},
		reversed: map[uuid.UUID]bool{},
		accounts: map[uuid.UUID]*accountState{},
	}
	for i, r := range requests {
		b.ids[i] = ledger.IDOfKey(r.IdempotencyKey())
	}
	if err := b.load(ctx); err != nil {
		return nil, err
	}
	for i := range requests {
		b.outcomes[i] = b.judge(i)
	}
	if err := b.write(ctx); err != nil {
		return nil, err
	}
	if err := b.replay(ctx); err != nil {
		return nil, err
	}
	return b.outcomes, nil
}

// batch is the work of one database transaction.
type batch struct {
	engine   *Engine
	tx       *sqldb.Tx
	requests []ledger.Request
	ids      []uuid.UUID // of the requests' keys
	outcomes []Outcome

	known    map[uuid.UUID]known // by id: requests carried out before, or in this batch
	holds    map[uuid.UUID]*holdState
	made     map[uuid.UUID]*ledger.Transaction // originals to be reversed, and transactions of this batch
	reversed map[uuid.UUID]bool
	accounts map[uuid.UUID]*accountState

	transactions []newTransaction
	newHolds     []*holdState
	releases     []release
	replays      []int // indexes of requests that were carried out before
}

// known is a request that was carried out.
type known struct {
	hash [sha256.Size]byte
	hold uuid.UUID // for a void: the hold that it released
}

type holdState struct {
	ledger.Hold
	hash    [sha256.Size]byte
	isNew   bool
	changed bool
}

type newTransaction struct {
	*ledger.Transaction
	hash [sha256.Size]byte
}

type release struct {
	id     uuid.UUID
	key    string
	hash   [sha256.Size]byte
	hold   uuid.UUID
	amount ledger.Amount
	at     time.Time
}

// accountState is an account as the batch sees it. For an account with bounds,
// balance is what the database has, plus delta; for others only delta is known.
type accountState struct {
	ledger.Account
	balance ledger.Balance
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
	hash := b.requests[i].Hash()
	if before, ok := b.known[b.ids[i]]; ok {
		if !bytes.Equal(before.hash[:], hash[:]) {
			return Outcome{Err: ledger.Errorf(ledger.CodeConflict,
				"the idempotency key %q was used before for another request; use a new key, or repeat that request as it was", b.requests[i].IdempotencyKey()).InField("key")}
		}
		b.replays = append(b.replays, i)
		return Outcome{Replayed: true}
	}
	var out Outcome
	seen := known{hash: hash}
	switch r := b.requests[i].(type) {
	case ledger.PostRequest:
		out = b.post(b.ids[i], hash, r)
	case ledger.HoldRequest:
		out = b.hold(b.ids[i], hash, r)
	case ledger.PostHoldRequest:
		out = b.postHold(b.ids[i], hash, r)
	case ledger.VoidHoldRequest:
		out = b.voidHold(b.ids[i], hash, r)
		seen.hold = r.HoldID
	case ledger.ReverseRequest:
		out = b.reverse(b.ids[i], hash, r)
	default:
		out = Outcome{Err: ledger.Errorf(ledger.CodeInvalid, "the engine does not know requests of type %T", r)}
	}
	if out.Err == nil {
		b.known[b.ids[i]] = seen
	}
	return out
}

func (b *batch) post(id uuid.UUID, hash [sha256.Size]byte, r ledger.PostRequest) Outcome {
	t := &ledger.Transaction{
		ID: id, Key: r.Key, Journal: r.Journal, Label: r.Label, EffectiveDate: r.EffectiveDate,
		Source: r.Source, Metadata: r.Metadata, Postings: slices.Clone(r.Postings),
	}
	return b.record(t, hash, nil)
}

// record judges and notes a transaction. release is what the holds behind it
// give back at the same time, by account.
func (b *batch) record(t *ledger.Transaction, hash [sha256.Size]byte, release map[uuid.UUID]delta) Outcome {
	changes := map[uuid.UUID]delta{}
	for id, d := range release {
		changes[id] = d
	}
	for i, p := range t.Postings {
		if err := b.usable(p); err != nil {
			return Outcome{Err: err.InField(fmt.Sprintf("postings[%d].%s", i, err.Field))}
		}
		if err := change(changes, p, func(d *delta, e *delta, amount ledger.Amount) {
			d.debitsPosted, e.creditsPosted = amount, amount
		}); err != nil {
			return Outcome{Err: err.InField(fmt.Sprintf("postings[%d].amount", i))}
		}
	}
	if err := b.try(changes); err != nil {
		return Outcome{Err: err}
	}
	if t.EffectiveDate.IsZero() {
		t.EffectiveDate = b.engine.Today()
	}
	t.RecordedAt = b.engine.recordedTime()
	b.made[t.ID] = t
	b.transactions = append(b.transactions, newTransaction{t, hash})
	return Outcome{Transaction: *t}
}

// change adds a posting's amount to the changes of its two accounts.
func change(changes map[uuid.UUID]delta, p ledger.Posting, set func(debit, credit *delta, amount ledger.Amount)) *ledger.Error {
	var debit, credit delta
	set(&debit, &credit, p.Amount)
	for _, side := range [...]struct {
		account uuid.UUID
		delta   delta
	}{{p.Debit, debit}, {p.Credit, credit}} {
		sum := changes[side.account]
		if err := sum.add(side.delta); err != nil {
			return ledger.Errorf(ledger.CodeOverflow, "the postings to one account add up to more than 64 bits hold: %w", err)
		}
		changes[side.account] = sum
	}
	return nil
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
func (b *batch) try(changes map[uuid.UUID]delta) error {
	ids := make([]uuid.UUID, 0, len(changes))
	for id := range changes {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, compareIDs) // the same refusal for the same request
	after := make([]accountState, len(ids))
	for i, id := range ids {
		account := *b.accounts[id]
		if err := account.apply(changes[id]); err != nil {
			return err
		}
		after[i] = account
	}
	for i, id := range ids {
		*b.accounts[id] = after[i]
	}
	return nil
}

func compareIDs(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) }

// apply adds d to the account and checks its bounds.
func (a *accountState) apply(d delta) error {
	overflow := func(err error) error {
		return ledger.Errorf(ledger.CodeOverflow, "the balance of account %s would leave the range of 64 bits: %w", a.Code, err)
	}
	if err := a.delta.add(d); err != nil {
		return overflow(err)
	}
	if !a.Limited() {
		return nil
	}
	total := delta{a.balance.DebitsPosted, a.balance.CreditsPosted, a.balance.DebitsPending, a.balance.CreditsPending}
	if err := total.add(d); err != nil {
		return overflow(err)
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
	changes := map[uuid.UUID]delta{
		r.Debit:  {debitsPending: r.Amount},
		r.Credit: {creditsPending: r.Amount},
	}
	if err := b.try(changes); err != nil {
		return Outcome{Err: err}
	}
	h := &holdState{hash: hash, isNew: true, Hold: ledger.Hold{
		ID: id, Key: r.Key, Debit: r.Debit, Credit: r.Credit, Amount: r.Amount, Currency: r.Currency,
		Status: ledger.HoldPending, ExpiresAt: r.ExpiresAt.UTC().Truncate(time.Microsecond),
		RecordedAt: b.engine.recordedTime(), Source: r.Source,
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
	out := b.record(t, hash, map[uuid.UUID]delta{
		h.Debit:  {debitsPending: -freed},
		h.Credit: {creditsPending: -freed},
	})
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
	changes := map[uuid.UUID]delta{
		h.Debit:  {debitsPending: -rest},
		h.Credit: {creditsPending: -rest},
	}
	if err := b.try(changes); err != nil {
		return Outcome{Err: err}
	}
	h.Status, h.ClosedAt, h.changed = status, b.engine.recordedTime(), true
	b.releases = append(b.releases, release{id: id, key: r.Key, hash: hash, hold: h.ID, amount: rest, at: h.ClosedAt})
	return Outcome{Hold: h.Hold}
}

func (b *batch) reverse(id uuid.UUID, hash [sha256.Size]byte, r ledger.ReverseRequest) Outcome {
	original, ok := b.made[r.TransactionID]
	if !ok {
		return Outcome{Err: ledger.Errorf(ledger.CodeNotFound, "there is no transaction %s", r.TransactionID).InField("transaction_id")}
	}
	if b.reversed[original.ID] {
		return Outcome{Err: ledger.Errorf(ledger.CodeAlreadyReversed, "transaction %s was reversed before", original.ID).InField("transaction_id")}
	}
	t := &ledger.Transaction{
		ID: id, Key: r.Key, Journal: original.Journal, Label: r.Label, EffectiveDate: r.EffectiveDate,
		Source: original.Source, Metadata: r.Metadata, Reverses: original.ID,
		Postings: make([]ledger.Posting, len(original.Postings)),
	}
	for i, p := range original.Postings {
		t.Postings[i] = ledger.Posting{Debit: p.Credit, Credit: p.Debit, Amount: p.Amount, Currency: p.Currency}
	}
	out := b.record(t, hash, nil)
	if out.Err == nil {
		b.reversed[original.ID] = true
	}
	return out
}
