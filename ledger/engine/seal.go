package engine

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// SealerLease is the name of the sealer's lease.
const SealerLease = "sealer"

// sealPostings bounds the postings that one database transaction of the sealer
// reads and numbers, but one page in any case: SubmitTogether can make one of
// maxTogether postings.
const sealPostings = 5000

// maxSealPages bounds the pages of one transaction of the sealer.
const maxSealPages = 1000

// Sealed is what one round of the sealer did.
type Sealed struct {
	Pages        int
	Transactions int64
	// More says that there was more to seal than one round takes.
	More bool
}

// Seal gives the transactions of the pages that wait longest their numbers,
// gapless in each journal and fiscal year, and the next links of the chains, and
// adds them to the roll-ups and to what lists find pages by. Pages are taken in the order of their recording among
// those that are committed: one that commits late is sealed later, never skipped.
// The lease must be held; where it was lost, nothing is written.
func (e *Engine) Seal(ctx context.Context, lease Lease) (Sealed, error) {
	var sealed Sealed
	if err := e.KeepSettings(ctx); err != nil {
		return Sealed{}, fmt.Errorf("seal the journal: %w", err)
	}
	err := e.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		sealed = Sealed{}
		if err := lease.Check(ctx, tx); err != nil {
			return err
		}
		s := sealer{tx: tx, engine: e, fence: lease.Token, at: e.Now(), heads: map[chain]*ledger.Head{}, lookups: newLookups()}
		if err := s.take(ctx); err != nil {
			return fmt.Errorf("read unsealed pages: %w", err)
		}
		if len(s.pages) == 0 {
			return nil
		}
		for _, step := range []func(context.Context) error{s.number, s.store, s.storeLookups, s.rollUp, s.settle} {
			if err := step(ctx); err != nil {
				return err
			}
		}
		sealed = Sealed{Pages: len(s.pages), Transactions: s.transactions, More: s.more}
		return nil
	})
	if err != nil {
		return Sealed{}, fmt.Errorf("seal the journal: %w", asLedgerError(err))
	}
	e.metrics.sealed.Add(float64(sealed.Transactions))
	return sealed, nil
}

// Unsealed returns how many pages wait for the sealer, at most limit, and since when.
func Unsealed(ctx context.Context, tx *sqldb.Tx, limit int) (pages int64, since time.Time, err error) {
	if err := sqldb.CheckPage(limit, MaxPage); err != nil {
		return 0, time.Time{}, err
	}
	err = tx.QueryRow(ctx, fmt.Sprintf("SELECT COUNT(*), MIN(recorded_at) FROM (SELECT recorded_at FROM unsealed_pages ORDER BY recorded_at LIMIT %d) AS waiting",
		limit), nil, &pages, &since)
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("count unsealed pages: %w", err)
	}
	return pages, since, nil
}

// chain is a sequence of numbers of its own.
type chain struct {
	journal    string
	fiscalYear int
}

// sortedChains returns the chains of a map in order of journal and fiscal year.
func sortedChains[V any](of map[chain]V) []chain {
	return slices.SortedFunc(maps.Keys(of), func(a, b chain) int {
		return cmp.Or(cmp.Compare(a.journal, b.journal), cmp.Compare(a.fiscalYear, b.fiscalYear))
	})
}

// sealer is one round.
type sealer struct {
	tx     *sqldb.Tx
	engine *Engine
	fence  int64
	at     time.Time

	pages        []waitingPage
	more         bool
	transactions int64
	heads        map[chain]*ledger.Head
	seals        []sealedRun
	lookups      lookups
}

type waitingPage struct {
	id       int64
	date     ledger.Date
	recorded time.Time
	postings int64
}

// sealedRun is a row of seals: the transactions of one journal on one page.
type sealedRun struct {
	chain
	page        int64
	first, last int64
	lines       []byte // 4 bytes each
	entries     []byte // 32 bytes each
	link        [sha256.Size]byte
}

// take chooses the pages of the round.
func (s *sealer) take(ctx context.Context) error {
	waiting, err := sqldb.Collect(ctx, s.tx, fmt.Sprintf(`SELECT g.id, g.effective_date, g.recorded_at, g.postings
		FROM unsealed_pages AS u JOIN pages AS g ON g.id = u.page_id WHERE NOT %s ORDER BY u.recorded_at, u.page_id LIMIT %d`, inClosedPeriod, maxSealPages+1), nil,
		func(rows *sqldb.Rows) (waitingPage, error) {
			var p waitingPage
			err := rows.Scan(&p.id, &p.date, &p.recorded, &p.postings)
			return p, err
		})
	if err != nil {
		return err
	}
	postings := int64(0)
	for i, p := range waiting {
		postings += p.postings
		if i == maxSealPages || i > 0 && postings > sealPostings {
			s.more = true
			break
		}
		s.pages = append(s.pages, p)
	}
	return nil
}

// number reads the pages and works out the seals.
func (s *sealer) number(ctx context.Context) error {
	ids := make([]int64, len(s.pages))
	for i, p := range s.pages {
		ids[i] = p.id
	}
	byPage, err := transactionsOnPages(ctx, s.tx, ids)
	if err != nil {
		return fmt.Errorf("read pages: %w", err)
	}
	for _, p := range s.pages {
		runs := map[chain]*sealedRun{}
		for _, t := range byPage[p.id] {
			c := chain{t.Journal, ledger.FiscalYearOf(t.EffectiveDate, s.engine.starts).Year}
			head, err := s.head(ctx, c)
			if err != nil {
				return err
			}
			run, ok := runs[c]
			if !ok {
				run = &sealedRun{chain: c, page: p.id, first: head.Number + 1}
				runs[c] = run
			}
			head.Number++
			entry := ledger.EntryHash(c.journal, c.fiscalYear, head.Number, t)
			head.Link = ledger.NextLink(head.Link, entry)
			run.last, run.link = head.Number, head.Link
			run.lines = binary.BigEndian.AppendUint32(run.lines, uint32(t.Place.Line)) // a batch has far fewer postings than 32 bits count
			run.entries = append(run.entries, entry[:]...)
			s.transactions++
			s.lookups.add(t)
		}
		for _, run := range runs {
			s.seals = append(s.seals, *run)
		}
	}
	return nil
}

// head returns the end of a chain, which is locked with it.
func (s *sealer) head(ctx context.Context, c chain) (*ledger.Head, error) {
	if head, ok := s.heads[c]; ok {
		return head, nil
	}
	head := &ledger.Head{Journal: c.journal, FiscalYear: c.fiscalYear, Link: ledger.ChainStart(c.journal, c.fiscalYear)}
	var link []byte
	err := s.tx.QueryRow(ctx, "SELECT number, link FROM seal_heads WHERE journal = $1 AND fiscal_year = $2"+s.tx.ForUpdate(),
		[]any{c.journal, int64(c.fiscalYear)}, &head.Number, &link)
	switch {
	case err == nil:
		copy(head.Link[:], link)
	case !sqldb.IsNoRows(err):
		return nil, fmt.Errorf("read the head of journal %s: %w", c.journal, err)
	}
	s.heads[c] = head
	return head, nil
}

var sealTable = []sqldb.Column{
	{Name: "journal", Type: "text"}, {Name: "fiscal_year", Type: "int8"}, {Name: "first_number", Type: "int8"},
	{Name: "last_number", Type: "int8"}, {Name: "page_id", Type: "int8"}, {Name: "lines", Type: "bytea"},
	{Name: "entries", Type: "bytea"}, {Name: "link", Type: "bytea"}, {Name: "sealed_at", Type: "timestamptz"}, {Name: "fence", Type: "int8"},
}

var headTable = []sqldb.Column{
	{Name: "journal", Type: "text"}, {Name: "fiscal_year", Type: "int8"}, {Name: "number", Type: "int8"}, {Name: "link", Type: "bytea"},
}

// store writes the seals and the new heads.
func (s *sealer) store(ctx context.Context) error {
	slices.SortFunc(s.seals, func(a, b sealedRun) int {
		return cmp.Or(cmp.Compare(a.journal, b.journal), cmp.Compare(a.fiscalYear, b.fiscalYear), cmp.Compare(a.first, b.first))
	})
	err := s.tx.Insert(ctx, "seals", sealTable, len(s.seals), func(i int) []any {
		r := s.seals[i]
		return []any{r.journal, int64(r.fiscalYear), r.first, r.last, r.page, r.lines, r.entries, r.link, s.at, s.fence}
	})
	if err != nil {
		return fmt.Errorf("store seals: %w", err)
	}
	chains := sortedChains(s.heads)
	_, err = s.tx.ExecRows(ctx, `INSERT INTO seal_heads (journal, fiscal_year, number, link) SELECT * FROM ROWS AS d WHERE 1 = 1
		ON CONFLICT (journal, fiscal_year) DO UPDATE SET number = excluded.number, link = excluded.link`,
		headTable, len(chains), func(i int) []any {
			head := s.heads[chains[i]]
			return []any{head.Journal, int64(head.FiscalYear), head.Number, head.Link}
		})
	if err != nil {
		return fmt.Errorf("store heads: %w", err)
	}
	return nil
}

// settle takes the pages off the queue.
func (s *sealer) settle(ctx context.Context) error {
	count, err := s.tx.ExecRows(ctx, `DELETE FROM unsealed_pages WHERE EXISTS (SELECT 1 FROM ROWS AS d
		WHERE d.recorded_at = unsealed_pages.recorded_at AND d.page_id = unsealed_pages.page_id)`, unsealedTable, len(s.pages),
		func(i int) []any { return []any{s.pages[i].recorded, s.pages[i].id} })
	if err != nil {
		return fmt.Errorf("take sealed pages off the queue: %w", err)
	}
	if count != int64(len(s.pages)) {
		return fmt.Errorf("take sealed pages off the queue: %d of %d were there", count, len(s.pages))
	}
	return nil
}

// number is the place of a transaction in the sealed journal.
type number struct {
	fiscalYear int
	number     int64
}

// addNumbers fills in the numbers of transactions that are sealed.
func addNumbers(ctx context.Context, tx *sqldb.Tx, list []ledger.Transaction) error {
	pages := map[int64]struct{}{}
	for _, t := range list {
		pages[t.Place.PageID] = struct{}{}
	}
	ids := slices.Sorted(maps.Keys(pages))
	numbers := make(map[place]number, len(list))
	err := tx.EachOfRows(ctx, `SELECT s.fiscal_year, s.first_number, s.page_id, s.lines FROM ROWS AS d CROSS JOIN seals AS s WHERE s.page_id = d.id`,
		[]sqldb.Column{{Name: "id", Type: "int8"}}, len(ids), func(i int) []any { return []any{ids[i]} }, func(rows *sqldb.Rows) error {
			var year int
			var first, page int64
			var lines []byte
			if err := rows.Scan(&year, &first, &page, &lines); err != nil {
				return err
			}
			for i := int64(0); len(lines) >= 4; i++ {
				numbers[place{page, int64(binary.BigEndian.Uint32(lines))}] = number{year, first + i}
				lines = lines[4:]
			}
			return nil
		})
	if err != nil {
		return fmt.Errorf("look up the numbers of %d transactions: %w", len(list), err)
	}
	for i := range list {
		n := numbers[place{list[i].Place.PageID, list[i].Place.Line}]
		list[i].FiscalYear, list[i].Number = n.fiscalYear, n.number
	}
	return nil
}

// Heads returns where the chains of the book end, in order of journal and fiscal
// year, at the engine's time.
func (e *Engine) Heads(ctx context.Context, tx *sqldb.Tx) (ledger.Heads, error) {
	list, err := sqldb.Collect(ctx, tx, "SELECT journal, fiscal_year, number, link FROM seal_heads ORDER BY journal, fiscal_year", nil,
		func(rows *sqldb.Rows) (ledger.Head, error) {
			var h ledger.Head
			var link []byte
			err := rows.Scan(&h.Journal, &h.FiscalYear, &h.Number, &link)
			copy(h.Link[:], link)
			return h, err
		})
	if err != nil {
		return ledger.Heads{}, fmt.Errorf("read heads: %w", err)
	}
	return ledger.Heads{At: e.Now(), List: list}, nil
}

// FindByNumber returns the transaction with a number of the sealed journal, or
// CodeNotFound.
func FindByNumber(ctx context.Context, tx *sqldb.Tx, journal string, fiscalYear int, n int64) (ledger.Transaction, error) {
	var first, page int64
	var lines []byte
	err := tx.QueryRow(ctx, `SELECT first_number, page_id, lines FROM seals
		WHERE journal = $1 AND fiscal_year = $2 AND first_number <= $3 AND last_number >= $3 ORDER BY first_number DESC LIMIT 1`,
		[]any{journal, int64(fiscalYear), n}, &first, &page, &lines)
	if err != nil && !sqldb.IsNoRows(err) {
		return ledger.Transaction{}, fmt.Errorf("find entry %d of journal %s of %d: %w", n, journal, fiscalYear, err)
	}
	if at := 4 * (n - first); err == nil && at >= 0 && at+4 <= int64(len(lines)) {
		found, err := transactionsAt(ctx, tx, []place{{page, int64(binary.BigEndian.Uint32(lines[at:]))}})
		if err == nil && len(found) == 1 {
			found[0].FiscalYear, found[0].Number = fiscalYear, n
			return found[0], nil
		}
		if err != nil {
			return ledger.Transaction{}, fmt.Errorf("find entry %d of journal %s of %d: %w", n, journal, fiscalYear, err)
		}
	}
	return ledger.Transaction{}, ledger.Errorf(ledger.CodeNotFound, "there is no entry %d in journal %s of the fiscal year %d", n, journal, fiscalYear)
}

// transactionsOnPages returns all transactions of the given pages, by page, in
// the order of their lines.
func transactionsOnPages(ctx context.Context, tx *sqldb.Tx, pages []int64) (map[int64][]ledger.Transaction, error) {
	undone := map[place]place{}
	byPage := make(map[int64][]ledger.Transaction, len(pages))
	err := tx.Each(ctx, `SELECT p.ordinal, COALESCE(p.metadata, '{}'), `+wholeColumns+` FROM postings AS p JOIN pages AS g ON g.id = p.page_id`+postingAccounts+`
		WHERE `+tx.AnyInt8("p.page_id", 1)+` ORDER BY p.page_id, p.line`, []any{pages}, func(rows *sqldb.Rows) error {
		t, p, ordinal, err := scanWhole(rows)
		if err != nil {
			return err
		}
		list := byPage[t.Place.PageID]
		if p.page != nil && p.line != nil {
			undone[place{t.Place.PageID, t.Place.Line}] = place{*p.page, *p.line}
		}
		if ordinal == 0 {
			t.Postings = []ledger.Posting{p.Posting}
			byPage[t.Place.PageID] = append(list, t)
			return nil
		}
		if len(list) == 0 || list[len(list)-1].ID != t.ID {
			return fmt.Errorf("posting %d of transaction %s does not follow on the one before it; run verify", ordinal, t.ID)
		}
		last := &list[len(list)-1]
		last.Postings = append(last.Postings, p.Posting)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, list := range byPage {
		if err := nameUndone(ctx, tx, list, undone); err != nil {
			return nil, err
		}
	}
	return byPage, nil
}
