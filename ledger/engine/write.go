package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// write stores what was accepted.
func (b *batch) write(ctx context.Context) error {
	err := b.writeHolds(ctx)
	if b.mode == cautious {
		err = takenSince(err)
	}
	if err != nil {
		return fmt.Errorf("write holds: %w", err)
	}
	err = b.writeJournal(ctx)
	if b.mode == cautious && sqldb.ClassOf(err) == sqldb.ClassUnique {
		// Another process has used the key since it was looked up, or the page's id.
		b.engine.skip()
		err = sqldb.Again(err)
	}
	if err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	return nil
}

// part is a set-wise statement of a batch's journal, with the rows that it reads.
type part struct {
	statement string // in which ROWS stands for the set
	set       sqldb.RowSet
}

// writeJournal stores pages, requests, postings and balances: on servers by one
// statement, which saves the round trips.
func (b *batch) writeJournal(ctx context.Context) error {
	balances, accounts := b.balances()
	parts := slices.DeleteFunc([]part{b.pageRows(), b.unsealedRows(), b.requestRows(), b.postingRows(), balances},
		func(p part) bool { return p.set.N == 0 })
	if len(parts) == 0 {
		return nil
	}
	changed := make([]balanceRow, 0, len(accounts))
	take := func(rows *sqldb.Rows) error {
		row, err := scanBalance(rows)
		changed = append(changed, row)
		return err
	}
	if err := b.run(ctx, parts, take); err != nil {
		return err
	}
	if len(changed) != len(accounts) {
		if b.mode == hopeful {
			return errHopeless
		}
		return fmt.Errorf("%d of %d balances were updated", len(changed), len(accounts))
	}
	if b.mode == hopeful {
		return b.review(accounts, changed)
	}
	return nil
}

// run runs the parts, the last of which returns rows.
func (b *batch) run(ctx context.Context, parts []part, take func(*sqldb.Rows) error) error {
	last := len(parts) - 1
	fits := func(p part) bool { return p.set.N <= sqldb.MaxRowsPerStatement }
	if b.tx.Engine() == sqldb.SQLite || len(parts) == 1 || !allOf(parts, fits) {
		for _, p := range parts[:last] {
			if _, err := b.tx.ExecRows(ctx, p.statement, p.set.Columns, p.set.N, p.set.Row); err != nil {
				return err
			}
		}
		p := parts[last]
		return b.tx.EachOfRows(ctx, p.statement, p.set.Columns, p.set.N, p.set.Row, take)
	}
	var query strings.Builder
	sets := make([]sqldb.RowSet, len(parts))
	for i, p := range parts {
		sets[i] = p.set
		statement := strings.ReplaceAll(p.statement, "ROWS", fmt.Sprintf("ROWS%d", i+1))
		switch i {
		case last:
			query.WriteString(" " + statement)
		case 0:
			fmt.Fprintf(&query, "WITH w%d AS (%s RETURNING 1)", i, statement)
		default:
			fmt.Fprintf(&query, ", w%d AS (%s RETURNING 1)", i, statement)
		}
	}
	return b.tx.QuerySets(ctx, query.String(), take, sets...)
}

func allOf[T any](list []T, ok func(T) bool) bool {
	return !slices.ContainsFunc(list, func(v T) bool { return !ok(v) })
}

func insert(table string, columns []sqldb.Column) string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.Name
	}
	return "INSERT INTO " + table + " (" + strings.Join(names, ", ") + ") SELECT * FROM ROWS AS d"
}

var pageTable = []sqldb.Column{
	{Name: "id", Type: "int8"}, {Name: "effective_date", Type: "date"}, {Name: "adjustment", Type: "int8"},
	{Name: "recorded_at", Type: "timestamptz"}, {Name: "transactions", Type: "int8"}, {Name: "postings", Type: "int8"},
}

// insertPages leaves out pages in closed periods and before them, so that the postings that were
// to lie on them are refused.
var insertPages = insert("pages", pageTable) + ` WHERE NOT EXISTS (SELECT 1 FROM periods AS c WHERE c.status <> 'open'
	AND d.effective_date <= c.ends_on AND (c.status = 'hard_closed' OR d.adjustment = 0))`

func (b *batch) pageRows() part {
	return part{insertPages, sqldb.RowSet{Columns: pageTable, N: len(b.pages), Row: func(i int) []any {
		p := b.pages[i]
		return []any{p.id, p.date, sqldb.Flag(p.adjustment), p.recorded, p.transactions, p.lines}
	}}}
}

var unsealedTable = []sqldb.Column{{Name: "recorded_at", Type: "timestamptz"}, {Name: "page_id", Type: "int8"}}

var insertUnsealed = insert("unsealed_pages", unsealedTable)

func (b *batch) unsealedRows() part {
	return part{insertUnsealed, sqldb.RowSet{Columns: unsealedTable, N: len(b.pages),
		Row: func(i int) []any { return []any{b.pages[i].recorded, b.pages[i].id} }}}
}

var requestTable = []sqldb.Column{
	{Name: "id", Type: "uuid"}, {Name: "request_hash", Type: "bytea"}, {Name: "page_id", Type: "int8"}, {Name: "line", Type: "int8"},
}

var insertRequests = insert("requests", requestTable)

// requestRows are in order of id, which is the order of their table.
func (b *batch) requestRows() part {
	rows := make([][]any, 0, len(b.transactions)+len(b.newHolds)+len(b.releases))
	for _, t := range b.transactions {
		rows = append(rows, []any{t.ID, t.hash, t.place.page, t.place.line})
	}
	for _, h := range b.newHolds {
		rows = append(rows, []any{h.ID, h.hash, nil, nil})
	}
	for _, r := range b.releases {
		rows = append(rows, []any{r.id, r.hash, nil, nil})
	}
	slices.SortFunc(rows, func(a, b []any) int { return compareIDs(a[0].(uuid.UUID), b[0].(uuid.UUID)) })
	return part{insertRequests, sqldb.RowSet{Columns: requestTable, N: len(rows), Row: func(i int) []any { return rows[i] }}}
}

var postingTable = [...]sqldb.Column{
	{Name: "page_id", Type: "int8"}, {Name: "line", Type: "int8"}, {Name: "transaction_id", Type: "uuid"},
	{Name: "ordinal", Type: "int8"}, {Name: "debit_no", Type: "int8"}, {Name: "credit_no", Type: "int8"},
	{Name: "amount", Type: "int8"}, {Name: "currency", Type: "text"}, {Name: "reverses_page_id", Type: "int8"},
	{Name: "reverses_line", Type: "int8"}, {Name: "postings", Type: "int8"}, {Name: "idempotency_key", Type: "text"},
	{Name: "journal", Type: "text"}, {Name: "label", Type: "text"}, {Name: "source_channel", Type: "text"},
	{Name: "source_id", Type: "text"}, {Name: "source_date", Type: "date"}, {Name: "metadata", Type: "jsonb"},
	{Name: "reverses", Type: "uuid"}, {Name: "hold_id", Type: "uuid"},
}

// postingRows leaves out the columns that no posting of the batch has a value in:
// most batches have no reversals, say, and a database need not plan for them.
func (b *batch) postingRows() part {
	var rows [][]any
	var used [len(postingTable)]bool
	for _, t := range b.transactions {
		for ordinal := range t.Postings {
			row := b.postingRow(t, int64(ordinal))
			for c, v := range row {
				used[c] = used[c] || v != nil
			}
			rows = append(rows, row)
		}
	}
	var columns []sqldb.Column
	var places []int
	for c, column := range postingTable {
		if used[c] {
			columns, places = append(columns, column), append(places, c)
		}
	}
	return part{insert("postings", columns), sqldb.RowSet{Columns: columns, N: len(rows), Row: func(i int) []any {
		row := rows[i]
		for to, from := range places {
			row[to] = row[from] // from is never before to
		}
		return row[:len(places)]
	}}}
}

// postingRow is a row of postingTable. The transaction's header is NULL but on
// the first posting.
func (b *batch) postingRow(t newTransaction, ordinal int64) []any {
	p := t.Postings[ordinal]
	row := make([]any, len(postingTable))
	copy(row, []any{t.place.page, t.place.line + ordinal, t.ID, ordinal, b.accounts[p.Debit].no, b.accounts[p.Credit].no,
		int64(p.Amount), string(p.Currency)})
	if original := p.Reverses; original != (ledger.PostingRef{}) {
		at := b.known[original.TransactionID].place
		row[8], row[9] = at.page, at.line+int64(original.Ordinal)
	}
	if ordinal > 0 {
		return row
	}
	copy(row[10:], []any{int64(len(t.Postings)), t.Key, t.Journal, t.Label, sqldb.NullText(t.Source.Channel),
		sqldb.NullText(t.Source.ID), nil, nil, sqldb.NullUUID(t.Reverses), sqldb.NullUUID(t.HoldID)})
	if !t.Source.Date.IsZero() {
		row[16] = t.Source.Date
	}
	if len(t.Metadata) > 0 {
		row[17] = t.Metadata
	}
	return row
}

var balanceChange = []sqldb.Column{
	{Name: "no", Type: "int8"}, {Name: "in_shard", Type: "int8"}, {Name: "debits", Type: "int8"}, {Name: "credits", Type: "int8"},
	{Name: "held_debits", Type: "int8"}, {Name: "held_credits", Type: "int8"},
	{Name: "began", Type: "timestamptz"}, {Name: "at", Type: "timestamptz"},
}

// The recording times of an account's changes go up from engine to engine, so
// that in the order of recording nothing is spent before it came in. Where another
// engine's clock was ahead of this one's, the row of an account with bounds stays
// as it is, which tells a hopeful batch; a cautious one has read that time before
// it took its own.
const updateBalances = `UPDATE balances SET debits_posted = balances.debits_posted + d.debits,
		credits_posted = balances.credits_posted + d.credits, debits_pending = balances.debits_pending + d.held_debits,
		credits_pending = balances.credits_pending + d.held_credits, version = balances.version + 1,
		changed_at = CASE WHEN balances.changed_at >= d.began THEN balances.changed_at ELSE d.at END
	FROM ROWS AS d WHERE balances.account_no = d.no AND balances.shard = d.in_shard
		AND (balances.changed_at < d.began OR (balances.min_balance IS NULL AND balances.max_balance IS NULL))
	RETURNING ` + balanceColumns

// balances returns the accounts that the batch changes, in order of number, and
// what updates their balances.
func (b *batch) balances() (part, []*accountState) {
	var accounts []*accountState
	for _, a := range b.accounts {
		if !a.delta.isZero() {
			accounts = append(accounts, a)
		}
	}
	slices.SortFunc(accounts, func(a, b *accountState) int { return int(min(max(a.no-b.no, -1), 1)) })
	began, at := b.recorded()
	return part{updateBalances, sqldb.RowSet{Columns: balanceChange, N: len(accounts), Row: func(i int) []any {
		a := accounts[i]
		return []any{a.no, int64(b.engine.shard % a.Shards), int64(a.delta.debitsPosted), int64(a.delta.creditsPosted),
			int64(a.delta.debitsPending), int64(a.delta.creditsPending), began, at}
	}}}, accounts
}

// recorded returns the first and the last recording time of the batch.
func (b *batch) recorded() (first, last time.Time) {
	if n := len(b.pages); n > 0 {
		return b.now(), b.pages[n-1].recorded
	}
	return b.now(), b.now()
}

// review judges a hopeful batch by the balances that it left: what stood before
// it follows from them, and then each request is looked at in its order.
func (b *batch) review(accounts []*accountState, after []balanceRow) error {
	byNumber := make(map[int64]*accountState, len(accounts))
	for _, a := range accounts {
		byNumber[a.no] = a
	}
	for _, row := range after {
		if row.minimum == nil && row.maximum == nil {
			continue
		}
		a := byNumber[row.accountNo]
		row.total.debitsPosted -= a.delta.debitsPosted // of sums that the database has just held
		row.total.creditsPosted -= a.delta.creditsPosted
		row.total.debitsPending -= a.delta.debitsPending
		row.total.creditsPending -= a.delta.creditsPending
		if err := a.take(row); err != nil {
			return err
		}
	}
	for _, changes := range b.steps {
		for _, c := range changes {
			if c.account.delta.isZero() {
				return errHopeless // held and released again: no row tells whether it could be
			}
			if c.account.read && c.account.apply(c.delta) != nil {
				return errHopeless
			}
		}
	}
	return nil
}

var holdTable = []sqldb.Column{
	{Name: "id", Type: "uuid"}, {Name: "idempotency_key", Type: "text"}, {Name: "request_hash", Type: "bytea"},
	{Name: "debit_account_id", Type: "uuid"}, {Name: "credit_account_id", Type: "uuid"}, {Name: "amount", Type: "int8"},
	{Name: "posted", Type: "int8"}, {Name: "currency", Type: "text"}, {Name: "status", Type: "text"},
	{Name: "expires_at", Type: "timestamptz"}, {Name: "recorded_at", Type: "timestamptz"},
	{Name: "closed_at", Type: "timestamptz"}, {Name: "source_channel", Type: "text"}, {Name: "source_id", Type: "text"},
	{Name: "source_date", Type: "date"},
}

var holdChange = []sqldb.Column{
	{Name: "id", Type: "uuid"}, {Name: "posted", Type: "int8"}, {Name: "status", Type: "text"}, {Name: "closed_at", Type: "timestamptz"},
}

var releaseTable = []sqldb.Column{
	{Name: "id", Type: "uuid"}, {Name: "idempotency_key", Type: "text"}, {Name: "request_hash", Type: "bytea"},
	{Name: "hold_id", Type: "uuid"}, {Name: "amount", Type: "int8"}, {Name: "recorded_at", Type: "timestamptz"},
}

func (b *batch) writeHolds(ctx context.Context) error {
	err := b.tx.Insert(ctx, "holds", holdTable, len(b.newHolds), func(i int) []any {
		h := b.newHolds[i]
		return []any{
			h.ID, h.Key, h.hash, h.Debit, h.Credit, int64(h.Amount), int64(h.Posted), string(h.Currency), string(h.Status),
			h.ExpiresAt, h.RecordedAt, h.ClosedAt,
			sqldb.NullText(h.Source.Channel), sqldb.NullText(h.Source.ID), h.Source.Date,
		}
	})
	if err != nil {
		return err
	}
	changed := idSet{}
	for id, h := range b.holds {
		if h.changed && !h.isNew {
			changed.add(id)
		}
	}
	ids := changed.sorted()
	count, err := b.tx.ExecRows(ctx, `UPDATE holds SET posted = d.posted, status = d.status, closed_at = d.closed_at
		FROM ROWS AS d WHERE holds.id = d.id`, holdChange, len(ids), func(i int) []any {
		h := b.holds[ids[i]]
		return []any{h.ID, int64(h.Posted), string(h.Status), h.ClosedAt}
	})
	if err != nil {
		return err
	}
	if count != int64(len(ids)) {
		return fmt.Errorf("%d of %d holds were updated", count, len(ids))
	}
	return b.tx.Insert(ctx, "hold_releases", releaseTable, len(b.releases), func(i int) []any {
		r := b.releases[i]
		return []any{r.id, r.key, r.hash, r.hold, int64(r.amount), r.at}
	})
}

// replay fills the outcomes of requests that were carried out before with what
// came of them then.
func (b *batch) replay(ctx context.Context) error {
	if len(b.replays) == 0 {
		return nil
	}
	var transactions, holds []uuid.UUID
	released := map[uuid.UUID]uuid.UUID{} // the hold that a request released, by the request's id
	var voids []uuid.UUID
	for _, i := range b.replays {
		switch b.requests[i].Request.(type) {
		case ledger.HoldRequest:
			holds = append(holds, b.requests[i].id)
		case ledger.VoidHoldRequest:
			voids = append(voids, b.requests[i].id)
		default:
			transactions = append(transactions, b.requests[i].id)
		}
	}
	if len(voids) > 0 {
		err := b.tx.Each(ctx, "SELECT id, hold_id FROM hold_releases WHERE "+b.tx.AnyUUID("id", 1), []any{voids}, func(rows *sqldb.Rows) error {
			var id, hold uuid.UUID
			err := rows.Scan(&id, &hold)
			released[id] = hold
			holds = append(holds, hold)
			return err
		})
		if err != nil {
			return fmt.Errorf("load earlier releases: %w", err)
		}
	}
	made, err := transactionsByID(ctx, b.tx, transactions)
	if err != nil {
		return fmt.Errorf("load earlier transactions: %w", err)
	}
	held, err := holdsByID(ctx, b.tx, holds)
	if err != nil {
		return fmt.Errorf("load earlier holds: %w", err)
	}
	for _, i := range b.replays {
		id := b.requests[i].id
		if hold, ok := released[id]; ok {
			id = hold
		}
		b.outcomes[i].Transaction, b.outcomes[i].Hold = made[id], held[id]
	}
	return nil
}
