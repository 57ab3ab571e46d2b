package paymentstest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// book reads what the model has from the database.
type book struct {
	*model
	ids    map[uuid.UUID]version // orders of the run
	base   map[string]ledger.Amount
	names  map[uuid.UUID]string // of accounts
	asking map[uuid.UUID]string // names of the run's enrolments
}

// systemAccounts are those that all runs share: what they had before is taken off.
func systemAccounts() []string {
	return []string{payments.AccountCardsToSettle, payments.AccountUnclaimed, payments.AccountSuspense, payments.AccountCustomerReceivable}
}

func (b *book) accountIDs() []uuid.UUID {
	ids := make([]uuid.UUID, 0, len(b.accounts))
	for code := range b.accounts {
		id := ledger.SystemAccountID(code)
		b.names[id] = code
		ids = append(ids, id)
	}
	return ids
}

func (b *book) customerIDs() []uuid.UUID {
	var ids []uuid.UUID
	for _, c := range b.customers {
		ids = append(ids, c.id)
	}
	return ids
}

// mine tells the run's customers from those of others on the same book.
func (b *book) mine() map[uuid.UUID]bool {
	ids := map[uuid.UUID]bool{}
	for _, id := range b.customerIDs() {
		ids[id] = true
	}
	return ids
}

// inBook is what model.view is of the model.
func (b *book) inBook(ctx context.Context, tx *sqldb.Tx, all bool) (view, error) {
	v := view{}
	for _, part := range []func(context.Context, *sqldb.Tx, view, bool) error{b.balances, b.parties, b.orderLines, b.unclaimedLines, b.enrolmentLines} {
		if err := part(ctx, tx, v, all); err != nil {
			return nil, err
		}
	}
	return v, nil
}

func (b *book) balances(ctx context.Context, tx *sqldb.Tx, v view, _ bool) error {
	sums := map[uuid.UUID]ledger.Balance{}
	err := tx.Each(ctx, "SELECT a.id, b.side, b.debits_posted, b.credits_posted, b.debits_pending, b.credits_pending FROM accounts AS a JOIN balances AS b ON b.account_no = a.no WHERE "+tx.AnyUUID("a.id", 1),
		[]any{b.accountIDs()}, func(rows *sqldb.Rows) error {
			var id uuid.UUID
			var x ledger.Balance
			err := rows.Scan(&id, &x.Side, &x.DebitsPosted, &x.CreditsPosted, &x.DebitsPending, &x.CreditsPending)
			s := sums[id]
			s.Side = x.Side
			s.DebitsPosted, s.CreditsPosted = s.DebitsPosted+x.DebitsPosted, s.CreditsPosted+x.CreditsPosted
			s.DebitsPending, s.CreditsPending = s.DebitsPending+x.DebitsPending, s.CreditsPending+x.CreditsPending
			sums[id] = s
			return err
		})
	for id, code := range b.names {
		s := sums[id]
		v["account "+code] = fmt.Sprintf("%d, out %d, in %d", s.Posted()-b.base[code], s.DebitsPending, s.CreditsPending)
	}
	return err
}

func (b *book) parties(ctx context.Context, tx *sqldb.Tx, v view, _ bool) error {
	parties := map[uuid.UUID]string{}
	err := tx.Each(ctx, "SELECT id, number, phone, status, phone_verified_at, secret_failures FROM customers WHERE "+tx.AnyUUID("id", 1), []any{b.customerIDs()}, func(rows *sqldb.Rows) error {
		var id uuid.UUID
		var number, phone, status string
		var proven time.Time
		var failures int
		err := rows.Scan(&id, &number, &phone, &status, &proven, &failures)
		parties[id] = number
		v["customer "+number] = fmt.Sprintf("%s, %s, proven %v, %d failures", phone, status, !proven.IsZero(), failures)
		return err
	})
	if err != nil {
		return err
	}
	var codes []string
	for code := range b.payees {
		codes = append(codes, code)
	}
	err = tx.Each(ctx, "SELECT id, code, status FROM payees WHERE "+tx.AnyText("code", 1), []any{codes}, func(rows *sqldb.Rows) error {
		var id uuid.UUID
		var code, status string
		err := rows.Scan(&id, &code, &status)
		parties[id] = code
		v["payee "+code] = status
		return err
	})
	if err != nil {
		return err
	}
	ids := make([]uuid.UUID, 0, len(parties))
	for id := range parties {
		ids = append(ids, id)
	}
	for _, column := range []string{"customer_id", "payee_id"} {
		err := tx.Each(ctx, "SELECT user_id, "+column+" FROM links WHERE "+tx.AnyUUID(column, 1), []any{ids}, func(rows *sqldb.Rows) error {
			var user string
			var id uuid.UUID
			err := rows.Scan(&user, &id)
			v["link "+user] = parties[id]
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

const openOrders = "state IN ('awaiting_payee', 'under_review', 'awaiting_confirmation')"

// each reads rows of the run's orders: all of them, or those that are open and those
// that the model has touched.
func (b *book) each(ctx context.Context, tx *sqldb.Tx, query, key, payer, open string, all bool, fn func(*sqldb.Rows) error) error {
	if all {
		return tx.Each(ctx, query+" WHERE "+tx.AnyUUID(payer, 1), []any{b.customerIDs()}, fn)
	}
	if err := tx.Each(ctx, query+" WHERE "+open, nil, fn); err != nil || len(b.touched) == 0 {
		return err
	}
	var ids []uuid.UUID
	for v := range b.touched {
		if o := b.orders[v]; o.id != uuid.Nil {
			ids = append(ids, o.id)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	return tx.Each(ctx, query+" WHERE "+tx.AnyUUID(key, 1), []any{ids}, fn)
}

// findOrders learns the ids of orders that the model made.
func (b *book) findOrders(ctx context.Context, tx *sqldb.Tx) error {
	var firsts []string
	for v := range b.touched {
		if o := b.orders[v]; o.id == uuid.Nil {
			firsts = append(firsts, v.first)
		}
	}
	if len(firsts) == 0 {
		return nil
	}
	return tx.Each(ctx, "SELECT id, first_id, version FROM orders WHERE "+tx.AnyText("order_key", 1), []any{keys(firsts)}, func(rows *sqldb.Rows) error {
		var id uuid.UUID
		var v version
		err := rows.Scan(&id, &v.first, &v.n)
		if o, ok := b.orders[v]; ok {
			o.id = id
			b.orders[v], b.ids[id] = o, v
			if u, ok := b.unclaimed[v]; ok {
				u.id = id
				b.unclaimed[v] = u
			}
		}
		return err
	})
}

func keys(firsts []string) []string {
	list := make([]string, len(firsts))
	for i, first := range firsts {
		list[i] = payments.OrderKey(channel, first)
	}
	return list
}

func (b *book) orderLines(ctx context.Context, tx *sqldb.Tx, v view, all bool) error {
	if err := b.findOrders(ctx, tx); err != nil {
		return err
	}
	const query = `SELECT payer_id, first_id, version, state, reason, amount, expires_at, effective_date,
		COALESCE((SELECT status FROM holds WHERE holds.id = orders.hold_id), '') FROM orders`
	mine := b.mine()
	return b.each(ctx, tx, query, "id", "payer_id", openOrders, all, func(rows *sqldb.Rows) error {
		var payer uuid.UUID
		var name version
		var state, reason, hold string
		var amount ledger.Amount
		var expires time.Time
		var posted ledger.Date
		if err := rows.Scan(&payer, &name.first, &name.n, &state, &reason, &amount, &expires, &posted, &hold); err != nil || !mine[payer] {
			return err
		}
		day := ""
		if !posted.IsZero() {
			day = posted.String()
		}
		v["order "+name.String()] = fmt.Sprintf("%s (%s): %d, held %v, until %s, on %q", state, reason, amount, hold == "pending", written(expires), day)
		return nil
	})
}

func (b *book) unclaimedLines(ctx context.Context, tx *sqldb.Tx, v view, all bool) error {
	const query = `SELECT payer_id, order_id, state, reason, amount, expires_at, due_at, reminded_at,
		COALESCE((SELECT number FROM customers WHERE customers.id = customer_id), '') FROM unclaimed_payments`
	mine := b.mine()
	return b.each(ctx, tx, query, "order_id", "payer_id", "state = 'waiting'", all, func(rows *sqldb.Rows) error {
		var payer, id uuid.UUID
		var state, reason, by string
		var amount ledger.Amount
		var expires, due, reminded time.Time
		if err := rows.Scan(&payer, &id, &state, &reason, &amount, &expires, &due, &reminded, &by); err != nil || !mine[payer] {
			return err
		}
		name, ok := b.ids[id]
		if !ok {
			name = version{first: id.String()}
		}
		v["unclaimed "+name.String()] = fmt.Sprintf("%s (%s): %d until %s, due %s, reminded %v, by %q", state, reason, amount, written(expires), written(due), !reminded.IsZero(), by)
		return nil
	})
}

func (b *book) enrolmentLines(ctx context.Context, tx *sqldb.Tx, v view, _ bool) error {
	if len(b.asking) == 0 {
		return nil
	}
	ids := make([]uuid.UUID, 0, len(b.asking))
	for id := range b.asking {
		ids = append(ids, id)
	}
	return tx.Each(ctx, "SELECT id, state, reason FROM enrolments WHERE "+tx.AnyUUID("id", 1), []any{ids}, func(rows *sqldb.Rows) error {
		var id uuid.UUID
		var state, reason string
		err := rows.Scan(&id, &state, &reason)
		v["enrolment "+b.asking[id]] = fmt.Sprintf("%s (%s)", state, reason)
		return err
	})
}

// digested are the tables in which a refusal leaves nothing, with what of them is read
// each time: of what is only ever added to the number of rows, of the rest a sum that
// every change changes. When a charge is looked at again is not what it is.
func digested() map[string]string {
	return map[string]string{
		"messages":           "COUNT(*), COUNT(handled_at), COUNT(deleted_at), COUNT(order_id)",
		"orders":             "COUNT(*), SUM(events), COUNT(closed_at), COUNT(transaction_id)",
		"order_events":       "COUNT(*)",
		"outbox":             "COUNT(*), COUNT(closed_at)",
		"holds":              "COUNT(*), COUNT(closed_at), SUM(posted)",
		"requests":           "COUNT(*)",
		"pages":              "COUNT(*), SUM(postings)",
		"postings":           "COUNT(*), SUM(amount)",
		"balances":           "SUM(version), SUM(debits_posted), SUM(debits_pending), SUM(credits_pending)",
		"customers":          "COUNT(*), SUM(secret_failures), COUNT(secret_blocked_at), COUNT(phone_verified_at), MAX(phone_verified_at)",
		"party_events":       "COUNT(*)",
		"party_changes":      "COUNT(*)",
		"links":              "COUNT(*)",
		"paid_payees":        "COUNT(*)",
		"screening_hits":     "COUNT(*)",
		"unclaimed_payments": "COUNT(*), COUNT(closed_at), MAX(due_at), COUNT(reminded_at)",
		"cards":              "COUNT(*), SUM(is_default), SUM(automatic_maximum)",
		"charges":            "COUNT(*), SUM(events), SUM(held_apart)",
		"charge_events":      "COUNT(*)",
		"disputes":           "COUNT(*), COUNT(returned_id)",
		"enrolments":         "COUNT(*), SUM(events), COUNT(closed_at)",
		"one_time_codes":     "COUNT(*), SUM(tries), COUNT(closed_at)",
	}
}

// digest is what the book has, table by table.
func digest(ctx context.Context, tx *sqldb.Tx) (view, error) {
	var queries []string
	for table, columns := range digested() {
		query := "SELECT '" + table + "'"
		for i, column := range strings.Split(columns, ", ") {
			if i > 0 {
				query += " || ' '"
			} else {
				query += ", ''"
			}
			query += " || COALESCE(CAST(" + column + " AS text), '-')"
		}
		queries = append(queries, query+" FROM "+table)
	}
	v := view{}
	err := tx.Each(ctx, strings.Join(queries, " UNION ALL "), nil, func(rows *sqldb.Rows) error {
		var table, sums string
		err := rows.Scan(&table, &sums)
		v[table] = sums
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("digest of the book: %w", err)
	}
	return v, nil
}

func values(dest []any) string {
	texts := make([]string, len(dest))
	for i, d := range dest {
		texts[i] = fmt.Sprint(*d.(*any))
	}
	return strings.Join(texts, " ")
}

// contents is a hash of every row of every table of digested, but when something is
// looked at next.
func contents(ctx context.Context, tx *sqldb.Tx) (view, error) {
	v := view{}
	for table := range digested() {
		columns, err := columnsOf(ctx, tx, table)
		if err != nil {
			return nil, err
		}
		var rows []string
		err = tx.Each(ctx, "SELECT "+strings.Join(columns, ", ")+" FROM "+table, nil, func(r *sqldb.Rows) error {
			dest := make([]any, len(columns))
			for i := range dest {
				dest[i] = new(any)
			}
			err := r.Scan(dest...)
			rows = append(rows, values(dest))
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("contents of %s: %w", table, err)
		}
		sort.Strings(rows)
		v[table] = fmt.Sprintf("%d rows, %x", len(rows), sha256.Sum256([]byte(strings.Join(rows, "\n"))))
	}
	return v, nil
}

// columnsOf returns the columns of a table that make what it says.
func columnsOf(ctx context.Context, tx *sqldb.Tx, table string) ([]string, error) {
	query := "SELECT column_name FROM information_schema.columns WHERE table_name = $1 AND table_schema = 'public' ORDER BY column_name"
	if tx.Engine() == sqldb.SQLite {
		query = "SELECT name FROM pragma_table_info($1) ORDER BY name"
	}
	columns, err := sqldb.Collect(ctx, tx, query, []any{table}, func(rows *sqldb.Rows) (name string, err error) {
		err = rows.Scan(&name)
		return name, err
	})
	if err != nil {
		return nil, fmt.Errorf("columns of %s: %w", table, err)
	}
	return slices.DeleteFunc(columns, func(name string) bool {
		switch table {
		case "charges":
			return name == "due_at" || name == "attempts"
		}
		return name == "rowid" || strings.HasPrefix(name, "crdb_internal")
	}), nil
}

// properties are what must hold of the book whatever anybody did, beside what the
// model says.
func properties(ctx context.Context, tx *sqldb.Tx) error {
	for what, query := range map[string]string{
		"holds that no open order owns": `SELECT COUNT(*) FROM holds AS h WHERE h.status = 'pending' AND (SELECT COUNT(*) FROM orders AS o
			WHERE o.hold_id = h.id AND o.state = 'awaiting_confirmation' AND o.amount = h.amount) <> 1`,
		"orders that posted and are not posted": `SELECT COUNT(*) FROM orders AS o JOIN transactions AS t ON t.idempotency_key = o.order_key
			WHERE o.state <> 'posted' AND NOT EXISTS (SELECT 1 FROM orders AS p WHERE p.order_key = o.order_key AND p.state = 'posted')`,
		"edit chains that posted twice": `SELECT COUNT(*) FROM (SELECT order_key FROM orders WHERE state = 'posted' GROUP BY order_key HAVING COUNT(*) > 1) AS twice`,
		"posted orders without their posting": `SELECT COUNT(*) FROM orders AS o WHERE o.state = 'posted' AND NOT EXISTS (SELECT 1 FROM transactions AS t
			JOIN postings AS p ON p.transaction_id = t.id WHERE t.id = o.transaction_id AND t.idempotency_key = o.order_key AND p.amount = o.amount AND t.postings = 1)`,
		"postings of two orders": `SELECT COUNT(*) FROM (SELECT transaction_id FROM orders WHERE transaction_id IS NOT NULL GROUP BY transaction_id HAVING COUNT(*) > 1) AS twice`,
		"orders that went on after their end": `SELECT COUNT(*) FROM order_events WHERE from_state IN ('rejected', 'expired', 'cancelled', 'voided')
			OR (from_state = 'posted' AND to_state <> 'posted')`,
		"receipts that were written twice": `SELECT COUNT(*) FROM (SELECT order_id, template FROM outbox WHERE kind = 'reply' AND order_id IS NOT NULL
			GROUP BY order_id, template HAVING COUNT(*) > 1) AS twice`,
	} {
		var n int
		if err := tx.QueryRow(ctx, query, nil, &n); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if n != 0 {
			return fmt.Errorf("%s: %d", what, n)
		}
	}
	return nil
}

// paidTooMuch looks through all that was ever posted for 24 hours or 30 days in which a
// customer has paid more, or more often, than one may.
func paidTooMuch(ctx context.Context, tx *sqldb.Tx, config payments.Config) error {
	type payment struct {
		at     time.Time
		amount ledger.Amount
	}
	paid := map[uuid.UUID][]payment{}
	err := tx.Each(ctx, "SELECT payer_id, closed_at, amount FROM orders WHERE state = 'posted' ORDER BY closed_at", nil, func(rows *sqldb.Rows) error {
		var payer uuid.UUID
		var p payment
		err := rows.Scan(&payer, &p.at, &p.amount)
		paid[payer] = append(paid[payer], p)
		return err
	})
	if err != nil {
		return err
	}
	limits := config.Screening
	for payer, list := range paid {
		for _, w := range []struct {
			length time.Duration
			count  int
			amount ledger.Amount
		}{{day, limits.DayCount, limits.DayAmount}, {month, limits.MonthCount, limits.MonthAmount}} {
			from, sum := 0, ledger.Amount(0)
			for i, p := range list {
				sum += p.amount
				for !list[from].at.After(p.at.Add(-w.length)) {
					sum -= list[from].amount
					from++
				}
				if sum > w.amount || i-from+1 > w.count {
					return fmt.Errorf("customer %s has paid %d times, %d, in the %s before %s", payer, i-from+1, sum, w.length, p.at)
				}
			}
		}
	}
	return nil
}
