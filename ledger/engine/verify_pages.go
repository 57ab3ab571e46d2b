package engine

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// Bounds of what is read at once.
const (
	verifyPages    = 1000   // pages
	verifyPostings = 10_000 // of their postings, but one page in any case
)

func (e *Engine) newVerifier(ctx context.Context, o VerifyOptions) (*verifier, error) {
	v := &verifier{engine: e, options: o, report: &Report{}, lastPage: -1, accounts: map[int64]*verified{}, numbers: map[uuid.UUID]int64{},
		seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
	err := e.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		v.tx = tx
		kept, err := keptStart(ctx, tx)
		if err == nil && kept != 0 {
			err = agree(kept, e.starts)
		}
		if err != nil {
			return err
		}
		if err := v.readAccounts(ctx); err != nil {
			return err
		}
		heads, err := e.Heads(ctx, tx)
		if err != nil {
			return err
		}
		v.began = heads.List
		if o.Resume != nil {
			if err := v.resume(ctx, *o.Resume); err != nil {
				return err
			}
		}
		return tx.QueryRow(ctx, "SELECT CAST(COALESCE(SUM(postings), 0) AS "+tx.Int8()+") FROM pages", nil, &v.total)
	})
	if err != nil {
		return nil, err
	}
	o.Progress(v.report.Postings, v.total)
	return v, nil
}

// pageToVerify is a page with the seals on it.
type pageToVerify struct {
	id, transactions, postings int64
	date                       ledger.Date
	recorded                   time.Time
	runs                       []storedRun
	chains                     []chain // of the runs
}

// sealedBy reports whether the page was sealed wholly when these heads were the
// ends of the chains.
func (p pageToVerify) sealedBy(heads map[chain]int64) bool {
	for i, r := range p.runs {
		if r.last > heads[p.chains[i]] {
			return false
		}
	}
	return len(p.runs) > 0
}

func numbersOf(heads []ledger.Head) map[chain]int64 {
	numbers := make(map[chain]int64, len(heads))
	for _, h := range heads {
		numbers[chain{h.Journal, h.FiscalYear}] = h.Number
	}
	return numbers
}

// sealedPages verifies the pages that were sealed when the run began, in short
// transactions.
func (v *verifier) sealedPages(ctx context.Context) error {
	heads := numbersOf(v.began)
	for {
		var more bool
		before := v.state()
		err := v.engine.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			v.restore(before)
			v.tx = tx
			var err error
			more, err = v.pagesAfter(ctx, func(p pageToVerify) bool { return p.sealedBy(heads) })
			return err
		})
		if err != nil || !more {
			return err
		}
		if v.options.Save != nil {
			if err := v.options.Save(v.checkpoint()); err != nil {
				return &unsaved{err}
			}
		}
	}
}

// unsaved is an error of VerifyOptions.Save, which the database has no part in.
type unsaved struct{ cause error }

func (u *unsaved) Error() string { return "save the checkpoint: " + u.cause.Error() }
func (u *unsaved) Unwrap() error { return u.cause }

// otherPages verifies the pages that sealedPages left out.
func (v *verifier) otherPages(ctx context.Context) error {
	heads := numbersOf(v.began)
	v.lastPage = -1
	for {
		more, err := v.pagesAfter(ctx, func(p pageToVerify) bool { return !p.sealedBy(heads) })
		if err != nil {
			return err
		}
		if !more {
			break
		}
	}
	var stored int64
	if err := v.tx.QueryRow(ctx, "SELECT COUNT(*) FROM postings", nil, &stored); err != nil {
		return err
	}
	if stored != v.report.Postings {
		v.report.add("the book", "number of postings that lie on a page", v.report.Postings, stored)
	}
	v.options.Progress(v.report.Postings, v.total)
	return nil
}

// pagesAfter verifies those of the pages behind lastPage that are wanted, as many
// as are read at once, and moves lastPage on. It reports false at the end.
func (v *verifier) pagesAfter(ctx context.Context, wanted func(pageToVerify) bool) (bool, error) {
	pages, err := sqldb.Collect(ctx, v.tx, fmt.Sprintf(`SELECT id, effective_date, recorded_at, transactions, postings FROM pages WHERE id > $1 ORDER BY id LIMIT %d`, verifyPages),
		[]any{v.lastPage}, func(rows *sqldb.Rows) (*pageToVerify, error) {
			var p pageToVerify
			err := rows.Scan(&p.id, &p.date, &p.recorded, &p.transactions, &p.postings)
			return &p, err
		})
	if err != nil || len(pages) == 0 {
		return false, err
	}
	postings := int64(0)
	for i, p := range pages {
		if postings += p.postings; i > 0 && postings > verifyPostings {
			pages = pages[:i]
			break
		}
	}
	byID := make(map[int64]*pageToVerify, len(pages))
	ids := make([]int64, len(pages))
	for i, p := range pages {
		byID[p.id], ids[i] = p, p.id
	}
	err = v.tx.Each(ctx, `SELECT page_id, journal, fiscal_year, first_number, last_number, lines, entries FROM seals WHERE `+v.tx.AnyInt8("page_id", 1),
		[]any{ids}, func(rows *sqldb.Rows) error {
			var r storedRun
			var c chain
			err := rows.Scan(&r.page, &c.journal, &c.fiscalYear, &r.first, &r.last, &r.lines, &r.entries)
			p := byID[r.page]
			p.runs, p.chains = append(p.runs, r), append(p.chains, c)
			return err
		})
	if err != nil {
		return false, err
	}
	v.lastPage = ids[len(ids)-1]
	pages = slices.DeleteFunc(pages, func(p *pageToVerify) bool { return !wanted(*p) })
	return true, v.verifyPages(ctx, pages)
}

// verifyPages reads the postings of pages and checks them.
func (v *verifier) verifyPages(ctx context.Context, pages []*pageToVerify) error {
	if len(pages) == 0 {
		return nil
	}
	ids := make([]int64, len(pages))
	for i, p := range pages {
		ids[i] = p.id
	}
	read := pageWalk{verifier: v, undone: map[place]place{}, lists: make(map[int64][]ledger.Transaction, len(pages)), pages: make(map[int64]*seen, len(pages))}
	if err := read.postings(ctx, ids); err != nil {
		return err
	}
	read.finishTransaction()
	for _, list := range read.lists {
		if err := nameUndone(ctx, v.tx, list, read.undone); err != nil {
			return err
		}
	}
	for _, p := range pages {
		got := read.pages[p.id]
		if got == nil {
			got = &seen{}
		}
		if got.postings != p.postings {
			v.report.add(fmt.Sprintf("page %d", p.id), "number of postings", got.postings, p.postings)
		}
		if got.transactions != p.transactions {
			v.report.add(fmt.Sprintf("page %d", p.id), "number of transactions", got.transactions, p.transactions)
		}
		v.verifyTime(p)
		v.verifySeals(p, read.lists[p.id])
	}
	v.options.Progress(v.report.Postings, v.total)
	return nil
}

// seen is what was read of a page.
type seen struct{ transactions, postings int64 }

// pageWalk checks postings as they follow each other on their pages.
type pageWalk struct {
	*verifier
	undone map[place]place
	lists  map[int64][]ledger.Transaction // by page
	pages  map[int64]*seen
	t      struct {
		id             uuid.UUID
		postings, seen int64
	}
}

func (w *pageWalk) postings(ctx context.Context, pages []int64) error {
	ids := make(map[int64]uuid.UUID, len(w.numbers))
	for id, no := range w.numbers {
		ids[no] = id
	}
	return w.tx.Each(ctx, `SELECT p.ordinal, COALESCE(p.metadata, '{}'), p.page_id, p.line, p.transaction_id, COALESCE(p.idempotency_key, ''),
			COALESCE(p.journal, ''), COALESCE(p.label, ''), g.effective_date, g.recorded_at, COALESCE(p.source_channel, ''), COALESCE(p.source_id, ''),
			p.source_date, p.reverses, p.hold_id, p.reverses_page_id, p.reverses_line, p.amount, p.currency, p.debit_no, p.credit_no, COALESCE(p.postings, 0)
		FROM postings AS p JOIN pages AS g ON g.id = p.page_id WHERE `+w.tx.AnyInt8("p.page_id", 1)+` ORDER BY p.page_id, p.line`,
		[]any{pages}, func(rows *sqldb.Rows) error {
			var ordinal, debit, credit, count int64
			var metadata string
			var t ledger.Transaction
			var p scannedPosting
			if err := rows.Scan(&ordinal, &metadata, &t.Place.PageID, &t.Place.Line, &t.ID, &t.Key, &t.Journal, &t.Label, &t.EffectiveDate,
				&t.RecordedAt, &t.Source.Channel, &t.Source.ID, &t.Source.Date, &t.Reverses, &t.HoldID, &p.page, &p.line, &p.Amount, &p.Currency,
				&debit, &credit, &count); err != nil {
				return err
			}
			if err := readMetadata(&t, metadata); err != nil {
				return err
			}
			p.Debit, p.Credit = ids[debit], ids[credit]
			w.posting(t, p, ordinal, count)
			subject := func() string { return fmt.Sprintf("posting %d of transaction %s", ordinal, t.ID) }
			return w.count(debit, credit, p.Posting, subject, delta{debitsPosted: p.Amount}, delta{creditsPosted: p.Amount})
		})
}

// posting checks that a posting follows on the one before it, and gathers the
// transactions.
func (w *pageWalk) posting(t ledger.Transaction, p scannedPosting, ordinal, count int64) {
	page := w.pages[t.Place.PageID]
	if page == nil {
		w.finishTransaction()
		page = &seen{}
		w.pages[t.Place.PageID] = page
	}
	if t.Place.Line != page.postings {
		w.report.add(fmt.Sprintf("page %d", t.Place.PageID), "line of the next posting", page.postings, t.Place.Line)
	}
	page.postings++
	w.report.Postings++
	if ordinal == 0 {
		w.finishTransaction()
		w.t.id, w.t.postings, w.t.seen = t.ID, count, 0
		page.transactions++
		w.report.Transactions++
		if want := ledger.IDOfKey(t.Key); want != t.ID {
			w.report.add("transaction "+t.ID.String(), "id for key "+t.Key, want, t.ID)
		}
	}
	if t.ID != w.t.id || ordinal != w.t.seen {
		w.report.add(fmt.Sprintf("posting %d of transaction %s", ordinal, t.ID), "place on page "+fmt.Sprint(t.Place.PageID),
			fmt.Sprintf("posting %d of transaction %s", w.t.seen, w.t.id), "line "+fmt.Sprint(t.Place.Line))
	}
	w.t.seen++
	list := w.lists[t.Place.PageID]
	if p.page != nil && p.line != nil {
		w.undone[place{t.Place.PageID, t.Place.Line}] = place{*p.page, *p.line}
	}
	if ordinal == 0 || len(list) == 0 {
		t.Postings = []ledger.Posting{p.Posting}
		w.lists[t.Place.PageID] = append(list, t)
		return
	}
	last := &list[len(list)-1]
	last.Postings = append(last.Postings, p.Posting)
}

func (w *pageWalk) finishTransaction() {
	if w.t.id != uuid.Nil && w.t.postings != w.t.seen {
		w.report.add("transaction "+w.t.id.String(), "number of postings", w.t.seen, w.t.postings)
	}
	w.t.id = uuid.Nil
}

// migratedSlots bounds the slots of pages that are numbers, not times: those of
// transactions that were recorded before there were pages. As times they would be
// the first fifteen hours of the year 2000.
const migratedSlots = 1 << 30

// verifyTime checks that a page is of the date and was recorded when its id says.
func (v *verifier) verifyTime(p *pageToVerify) {
	if want := firstDay.AddDays(int(p.id >> slotBits)); want != p.date {
		v.report.add(fmt.Sprintf("page %d", p.id), "effective date", want, p.date)
	}
	n := p.id & (1<<slotBits - 1)
	if n < migratedSlots || n == int64(p.recorded.Sub(firstSlot)/slot) {
		return
	}
	v.report.add(fmt.Sprintf("page %d", p.id), "recorded time", firstSlot.Add(time.Duration(n)*slot).Format(time.RFC3339Nano), p.recorded.Format(time.RFC3339Nano))
}

// verifySeals compares a sealed page with the hashes that its entries were sealed
// with.
func (v *verifier) verifySeals(p *pageToVerify, list []ledger.Transaction) {
	at := make(map[int64]ledger.Transaction, len(list))
	for _, t := range list {
		at[t.Place.Line] = t
	}
	year := ledger.FiscalYearOf(p.date, v.engine.starts).Year
	for i, r := range p.runs {
		if p.chains[i].fiscalYear != year {
			v.report.add(p.chains[i].entry(r.first), fmt.Sprintf("fiscal year, of %s", p.date), year, p.chains[i].fiscalYear)
		}
		if entries := r.last - r.first + 1; int64(len(r.lines)) != 4*entries || int64(len(r.entries)) != sha256.Size*entries {
			v.report.add(p.chains[i].entry(r.first), "seal", fmt.Sprintf("of %d entries, up to entry %d", entries, r.last), "of another length")
			continue
		}
		for n := int64(0); n <= r.last-r.first; n++ {
			line := int64(binary.BigEndian.Uint32(r.lines[4*n:]))
			subject := p.chains[i].entry(r.first + n)
			t, ok := at[line]
			if !ok {
				v.report.add(subject, "transaction", fmt.Sprintf("on page %d, line %d", p.id, line), "missing")
				continue
			}
			delete(at, line)
			if hash := ledger.EntryHash(p.chains[i].journal, p.chains[i].fiscalYear, r.first+n, t); hash != [sha256.Size]byte(r.entries[sha256.Size*n:]) {
				v.report.add(subject+", transaction "+t.ID.String(), "content", "as it was sealed", "changed since")
			} else if t.Journal != p.chains[i].journal {
				v.report.add(subject+", transaction "+t.ID.String(), "journal", p.chains[i].journal, t.Journal)
			}
		}
	}
	if len(p.runs) == 0 {
		return
	}
	for _, line := range slices.Sorted(maps.Keys(at)) {
		v.report.add(fmt.Sprintf("transaction %s on page %d, line %d", at[line].ID, p.id, line), "number", "one of the sealed journal",
			"none: it was inserted after the page was sealed")
	}
}

// entry names an entry of the chain.
func (c chain) entry(n int64) string {
	return fmt.Sprintf("entry %d of journal %s of %d", n, c.journal, c.fiscalYear)
}
