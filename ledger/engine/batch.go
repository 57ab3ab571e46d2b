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

type newTransaction struct {
	*ledger.Transaction
	hash  [sha256.Size]byte
	place place
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
