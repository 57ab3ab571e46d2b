package ledgertest

import (
	"bytes"
	"crypto/sha256"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"tweetledger/ledger"
)

// Model is the book as plain maps: what every engine must do, in as few lines as
// it can be said. It is not safe for concurrent use.
type Model struct {
	Accounts     map[uuid.UUID]ledger.Account
	Balances     map[uuid.UUID]ledger.Balance
	Holds        map[uuid.UUID]ledger.Hold
	Transactions map[uuid.UUID]ledger.Transaction

	reversed map[ledger.PostingRef]bool
	keys     map[string]answer
}

// answer is what a key was first used for, and what came of it.
type answer struct {
	hash [sha256.Size]byte
	id   uuid.UUID // of the transaction or hold
}

// NewModel returns an empty book.
func NewModel() *Model {
	return &Model{
		Accounts:     map[uuid.UUID]ledger.Account{},
		Balances:     map[uuid.UUID]ledger.Balance{},
		Holds:        map[uuid.UUID]ledger.Hold{},
		Transactions: map[uuid.UUID]ledger.Transaction{},
		reversed:     map[ledger.PostingRef]bool{},
		keys:         map[string]answer{},
	}
}

// Open adds an account.
func (m *Model) Open(a ledger.Account) {
	m.Accounts[a.ID] = a
	m.Balances[a.ID] = ledger.Balance{AccountID: a.ID, Currency: a.Currency, Side: a.Side}
}

// Apply carries a request out at an instant and returns the id of the
// transaction or hold that answers it, or the code of the refusal. A refusal
// changes nothing.
func (m *Model) Apply(request ledger.Request, now time.Time) (uuid.UUID, ledger.Code) {
	if request.Validate() != nil {
		return uuid.Nil, ledger.CodeInvalid
	}
	key, hash := request.IdempotencyKey(), request.Hash()
	if before, ok := m.keys[key]; ok {
		if before.hash != hash {
			return uuid.Nil, ledger.CodeConflict
		}
		return before.id, ""
	}
	id, code := m.carryOut(request, ledger.IDOfKey(key), now)
	if code == "" {
		m.keys[key] = answer{hash, id}
	}
	return id, code
}

func (m *Model) carryOut(request ledger.Request, id uuid.UUID, now time.Time) (uuid.UUID, ledger.Code) {
	switch r := request.(type) {
	case ledger.PostRequest:
		return id, m.record(ledger.Transaction{ID: id, Key: r.Key, EffectiveDate: effective(r.EffectiveDate, now), Postings: r.Postings}, nil)
	case ledger.HoldRequest:
		return m.hold(id, r, now)
	case ledger.PostHoldRequest:
		return m.postHold(id, r, now)
	case ledger.VoidHoldRequest:
		return m.voidHold(r, now)
	case ledger.ReverseRequest:
		return m.reverse(id, r, now)
	}
	return uuid.Nil, ledger.CodeInvalid
}

// move is a change to one account's balance.
type move func(b *ledger.Balance)

// record makes a transaction, together with what holds give back.
func (m *Model) record(t ledger.Transaction, freed map[uuid.UUID]move) ledger.Code {
	moves := map[uuid.UUID][]move{}
	for id, free := range freed {
		moves[id] = append(moves[id], free)
	}
	for _, p := range t.Postings {
		if code := m.usable(p); code != "" {
			return code
		}
		moves[p.Debit] = append(moves[p.Debit], func(b *ledger.Balance) { b.DebitsPosted += p.Amount })
		moves[p.Credit] = append(moves[p.Credit], func(b *ledger.Balance) { b.CreditsPosted += p.Amount })
	}
	code := m.try(moves)
	if code == "" {
		m.Transactions[t.ID] = t
	}
	return code
}

func (m *Model) usable(p ledger.Posting) ledger.Code {
	for _, id := range []uuid.UUID{p.Debit, p.Credit} {
		a, ok := m.Accounts[id]
		switch {
		case !ok:
			return ledger.CodeNotFound
		case a.Currency != p.Currency:
			return ledger.CodeCurrencyMismatch
		}
	}
	return ""
}

// try makes all moves if every account's bounds allow the sum of its moves. The
// account with the lowest id gives the reason of a refusal.
func (m *Model) try(moves map[uuid.UUID][]move) ledger.Code {
	after := map[uuid.UUID]ledger.Balance{}
	ids := slices.SortedFunc(maps.Keys(moves), func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
	for _, id := range ids {
		a, before := m.Accounts[id], m.Balances[id]
		b := before
		for _, change := range moves[id] {
			change(&b)
		}
		if a.Min != nil && b.Available() < *a.Min && b.Available() < before.Available() {
			return ledger.CodeInsufficientFunds
		}
		if a.Max != nil && b.Expected() > *a.Max && b.Expected() > before.Expected() {
			return ledger.CodeLimitExceeded
		}
		after[id] = b
	}
	maps.Copy(m.Balances, after)
	return ""
}

func (m *Model) hold(id uuid.UUID, r ledger.HoldRequest, now time.Time) (uuid.UUID, ledger.Code) {
	if !r.ExpiresAt.IsZero() && !r.ExpiresAt.After(now) {
		return uuid.Nil, ledger.CodeInvalid
	}
	if code := m.usable(ledger.Posting{Debit: r.Debit, Credit: r.Credit, Currency: r.Currency}); code != "" {
		return uuid.Nil, code
	}
	if code := m.try(map[uuid.UUID][]move{
		r.Debit:  {func(b *ledger.Balance) { b.DebitsPending += r.Amount }},
		r.Credit: {func(b *ledger.Balance) { b.CreditsPending += r.Amount }},
	}); code != "" {
		return uuid.Nil, code
	}
	m.Holds[id] = ledger.Hold{ID: id, Key: r.Key, Debit: r.Debit, Credit: r.Credit, Amount: r.Amount,
		Currency: r.Currency, Status: ledger.HoldPending, ExpiresAt: r.ExpiresAt}
	return id, ""
}

// free returns the moves that give back part of what is pending.
func free(h ledger.Hold, amount ledger.Amount) map[uuid.UUID]move {
	return map[uuid.UUID]move{
		h.Debit:  func(b *ledger.Balance) { b.DebitsPending -= amount },
		h.Credit: func(b *ledger.Balance) { b.CreditsPending -= amount },
	}
}

func (m *Model) postHold(id uuid.UUID, r ledger.PostHoldRequest, now time.Time) (uuid.UUID, ledger.Code) {
	h, ok := m.Holds[r.HoldID]
	amount := r.Amount
	if amount == 0 {
		amount = h.Remaining()
	}
	switch {
	case !ok:
		return uuid.Nil, ledger.CodeNotFound
	case h.Status != ledger.HoldPending, expired(h, now), amount > h.Remaining():
		return uuid.Nil, ledger.CodeHoldClosed
	}
	freed := amount
	if r.ReleaseRest {
		freed = h.Remaining()
	}
	t := ledger.Transaction{ID: id, Key: r.Key, HoldID: h.ID, EffectiveDate: effective(r.EffectiveDate, now),
		Postings: []ledger.Posting{{Debit: h.Debit, Credit: h.Credit, Amount: amount, Currency: h.Currency}}}
	if code := m.record(t, free(h, freed)); code != "" {
		return uuid.Nil, code
	}
	h.Posted += amount
	if r.ReleaseRest || h.Posted == h.Amount {
		h.Status = ledger.HoldPosted
	}
	m.Holds[h.ID] = h
	return id, ""
}

func (m *Model) voidHold(r ledger.VoidHoldRequest, now time.Time) (uuid.UUID, ledger.Code) {
	h, ok := m.Holds[r.HoldID]
	switch {
	case !ok:
		return uuid.Nil, ledger.CodeNotFound
	case h.Status != ledger.HoldPending:
		return uuid.Nil, ledger.CodeHoldClosed
	case r.Expired && !expired(h, now):
		return uuid.Nil, ledger.CodeInvalid
	}
	moves := map[uuid.UUID][]move{}
	for id, change := range free(h, h.Remaining()) {
		moves[id] = []move{change}
	}
	if code := m.try(moves); code != "" {
		return uuid.Nil, code
	}
	h.Status = ledger.HoldVoided
	if r.Expired {
		h.Status = ledger.HoldExpired
	}
	m.Holds[h.ID] = h
	return h.ID, ""
}

func expired(h ledger.Hold, now time.Time) bool {
	return !h.ExpiresAt.IsZero() && !now.Before(h.ExpiresAt)
}

// effective is the date of what asks for one, or for none. The model's today is
// that of UTC, which is near enough: dates are drawn days apart.
func effective(asked ledger.Date, now time.Time) ledger.Date {
	if asked.IsZero() {
		return ledger.DateIn(now, time.UTC)
	}
	return asked
}

func (m *Model) reverse(id uuid.UUID, r ledger.ReverseRequest, now time.Time) (uuid.UUID, ledger.Code) {
	original, ok := m.Transactions[r.TransactionID]
	if !ok {
		return uuid.Nil, ledger.CodeNotFound
	}
	date := effective(r.EffectiveDate, now)
	if date.Before(original.EffectiveDate) {
		if !r.EffectiveDate.IsZero() {
			return uuid.Nil, ledger.CodeInvalid
		}
		date = original.EffectiveDate
	}
	ordinals := r.Postings
	if len(ordinals) == 0 {
		for i := range original.Postings {
			ordinals = append(ordinals, i)
		}
	}
	t := ledger.Transaction{ID: id, Key: r.Key, EffectiveDate: date, Reverses: original.ID}
	for _, i := range ordinals {
		ref := ledger.PostingRef{TransactionID: original.ID, Ordinal: i}
		switch {
		case i >= len(original.Postings):
			return uuid.Nil, ledger.CodeInvalid
		case m.reversed[ref]:
			return uuid.Nil, ledger.CodeAlreadyReversed
		}
		p := original.Postings[i]
		t.Postings = append(t.Postings, ledger.Posting{Debit: p.Credit, Credit: p.Debit, Amount: p.Amount, Currency: p.Currency, Reverses: ref})
	}
	if code := m.record(t, nil); code != "" {
		return uuid.Nil, code
	}
	for _, p := range t.Postings {
		m.reversed[p.Reverses] = true
	}
	return id, ""
}
