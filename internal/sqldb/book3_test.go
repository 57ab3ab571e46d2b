package sqldb_test

import (
	"context"
	_ "embed"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
	"tweetledger/ledger/ledgertest"
)

// book3 is a book that the program of version 3 wrote, as SQL for SQLite: 22
// transactions of 29 postings on 7 dates, among them one of three postings and
// its reversal, 10 holds, of which one is posted in part, one voided and one
// posted in part and released, orders, a payout of two donations, and a bank
// statement. Keys of what was posted beside the demo begin with old:.
//
//go:embed testdata/book3.sql
var book3 string

// afterBook3 is later than all that is recorded in book3.
var afterBook3 = time.Date(2026, time.December, 1, 9, 0, 0, 0, time.UTC)

// what book3 says, in words for version 3 and for the newest one.
var bookQueries = []struct{ what, before, after string }{
	{"transactions, in the order of the journal",
		`SELECT id, idempotency_key, request_hash, journal, label, effective_date, recorded_at, source_channel, source_id, source_date,
			metadata, reverses, hold_id, postings FROM transactions ORDER BY effective_date, recorded_at, id`,
		`SELECT t.id, t.idempotency_key, r.request_hash, t.journal, t.label, t.effective_date, t.recorded_at, t.source_channel, t.source_id, t.source_date,
			COALESCE(t.metadata, '{}'), t.reverses, t.hold_id, t.postings FROM transactions AS t
			JOIN requests AS r ON r.id = t.id AND r.page_id = t.page_id AND r.line = t.line ORDER BY t.page_id, t.line`},
	{"postings",
		`SELECT transaction_id, ordinal, debit_account_id, credit_account_id, amount, currency, effective_date, recorded_at
			FROM postings ORDER BY transaction_id, ordinal`,
		`SELECT p.transaction_id, p.ordinal, d.id, c.id, p.amount, p.currency, g.effective_date, g.recorded_at
			FROM postings AS p JOIN pages AS g ON g.id = p.page_id JOIN accounts AS d ON d.no = p.debit_no AND d.currency = p.currency
			JOIN accounts AS c ON c.no = p.credit_no AND c.currency = p.currency ORDER BY p.transaction_id, p.ordinal`},
	{"pages", // one for each transaction, with its postings on lines from 0
		`SELECT effective_date, recorded_at, 1, postings, postings - 1 FROM transactions ORDER BY effective_date, recorded_at, id`,
		`SELECT effective_date, recorded_at, transactions, postings, (SELECT MAX(p.line) FROM postings AS p WHERE p.page_id = pages.id)
			FROM pages ORDER BY id`},
	{"pages to seal",
		`SELECT recorded_at, effective_date FROM transactions ORDER BY recorded_at, id`,
		`SELECT g.recorded_at, g.effective_date FROM unsealed_pages AS u JOIN pages AS g ON g.id = u.page_id ORDER BY g.recorded_at, g.id`},
	{"postings that undo others",
		`SELECT m.transaction_id, m.ordinal, o.transaction_id, o.ordinal FROM transactions AS t JOIN postings AS m ON m.transaction_id = t.id
			JOIN postings AS o ON o.transaction_id = t.reverses AND o.ordinal = m.ordinal ORDER BY m.transaction_id, m.ordinal`,
		`SELECT m.transaction_id, m.ordinal, o.transaction_id, o.ordinal FROM postings AS m
			JOIN postings AS o ON o.page_id = m.reverses_page_id AND o.line = m.reverses_line ORDER BY m.transaction_id, m.ordinal`},
	{"keys",
		`SELECT id, request_hash FROM transactions UNION ALL SELECT id, request_hash FROM holds
			UNION ALL SELECT id, request_hash FROM hold_releases ORDER BY 1`,
		`SELECT id, request_hash FROM requests ORDER BY 1`},
	{"balances",
		`SELECT account_id, shard, currency, side, min_balance, max_balance, debits_posted, credits_posted, debits_pending, credits_pending, version
			FROM balances ORDER BY account_id, shard`,
		`SELECT a.id, b.shard, b.currency, b.side, b.min_balance, b.max_balance, b.debits_posted, b.credits_posted, b.debits_pending, b.credits_pending,
			b.version FROM balances AS b JOIN accounts AS a ON a.no = b.account_no AND a.currency = b.currency ORDER BY a.id, b.shard`},
	{"accounts", accountsOfBook3, accountsOfBook3},
	{"holds", "SELECT * FROM holds ORDER BY id", "SELECT * FROM holds ORDER BY id"},
	{"releases", "SELECT * FROM hold_releases ORDER BY id", "SELECT * FROM hold_releases ORDER BY id"},
	{"orders", ordersOfBook3, ordersOfBook3},
	{"payouts", payoutsOfBook3, payoutsOfBook3},
	{"payout items", "SELECT * FROM payout_items ORDER BY payout_id, ordinal", "SELECT * FROM payout_items ORDER BY payout_id, ordinal"},
	{"bank entries", "SELECT * FROM bank_entries ORDER BY statement_id, entry, detail", "SELECT * FROM bank_entries ORDER BY statement_id, entry, detail"},
}

const accountsOfBook3 = `SELECT id, code, name, category, side, currency, min_balance, max_balance, shards, status, opened_at FROM accounts ORDER BY id`

const payoutsOfBook3 = `SELECT id, batch_id, ordinal, payee_id, account_id, currency, donations, gross, commission, net, end_to_end_id, creditor_name,
	creditor_iban, creditor_bic, remittance, state, transaction_id, cancel_transaction_id, settlement_transaction_id, return_transaction_id,
	approved_on, cancelled_on, settled_on, returned_on, return_reason FROM payouts ORDER BY id`

const ordersOfBook3 = `SELECT id, order_key, message_id, channel, first_id, version, state, reason, events, payer_id, payer_user_id, payee_kind,
	payee_customer_id, payee_payee_id, payee_user_id, payee_handle, amount, currency, language, binding, token_hash, hold_id, transaction_id,
	confirmation_id, effective_date, message_at, created_at, expires_at, closed_at FROM orders ORDER BY id`

func TestOldBookIsMoved(t *testing.T) {
	for _, engine := range sqltest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			sqltest.WholeOnly(t, engine)
			db := openBook3(t, engine)
			before := make([][]string, len(bookQueries))
			for i, q := range bookQueries {
				if before[i] = rowsOf(t, db, q.before); len(before[i]) == 0 {
					t.Fatalf("the old book has no %s", q.what)
				}
			}
			migrateUp(t, db)
			sameRows(t, db, before)
			goesOn(t, db)
		})
	}
}

// sameRows compares what the book says with what it said at version 3, row by row.
func sameRows(t *testing.T, db *sqldb.DB, before [][]string) {
	t.Helper()
	for i, q := range bookQueries {
		after := rowsOf(t, db, q.after)
		for n := range max(len(before[i]), len(after)) {
			was, is := "no row", "no row"
			if n < len(before[i]) {
				was = before[i][n]
			}
			if n < len(after) {
				is = after[n]
			}
			if was != is {
				t.Errorf("%s, row %d:\n%s, before:\n%s", q.what, n, is, was)
			}
		}
	}
	stale := count(t, db, `SELECT COUNT(*) FROM balances WHERE changed_at < (SELECT MAX(recorded_at) FROM pages)`)
	if stale != 0 {
		t.Errorf("%d balances say that they changed before the newest posting", stale)
	}
	if numbers, accounts := count(t, db, "SELECT COUNT(DISTINCT no) FROM accounts"), count(t, db, "SELECT COUNT(*) FROM accounts"); numbers != accounts {
		t.Errorf("%d accounts have %d numbers", accounts, numbers)
	}
}

// goesOn lets the program go on with the book: it knows every old request again,
// what was undone stays undone once, and what was held can be posted.
func goesOn(t *testing.T, db *sqldb.DB) {
	t.Helper()
	ctx := t.Context()
	e := engine.New(db, engine.Options{Clock: ledgertest.NewClock(afterBook3).Now})
	t.Cleanup(e.Close)
	verify(t, e, engine.Report{Transactions: 22, Postings: 29, Holds: 10, Accounts: 16})

	a, b, c := ledger.SystemAccountID("old:a"), ledger.SystemAccountID("old:b"), ledger.SystemAccountID("old:c")
	posting := func(debit, credit uuid.UUID, amount ledger.Amount) ledger.Posting {
		return ledger.Posting{Debit: debit, Credit: credit, Amount: amount, Currency: ledger.EUR}
	}
	three := ledger.PostRequest{Key: "old:three", Journal: "OD", Label: "Three postings, août", EffectiveDate: day(t, "2026-02-28"),
		Source: ledger.Source{Channel: "paper", ID: "n° 7", Date: day(t, "2026-02-27")}, Metadata: map[string]string{"reason": "l'été", "b": "2"},
		Postings: []ledger.Posting{posting(a, b, 300), posting(b, c, 200), posting(a, c, 100)}}
	made, err := e.Post(ctx, three)
	if err != nil || made.ID != ledger.IDOfKey(three.Key) || made.RecordedAt.After(afterBook3) || !slices.Equal(made.Postings, three.Postings) {
		t.Errorf("a repeat of a posting = %+v, %v; want the first answer", made, err)
	}
	if made.Metadata["reason"] != "l'été" || len(made.Metadata) != 2 || made.Source != three.Source {
		t.Errorf("a repeat of a posting has %v and %v", made.Metadata, made.Source)
	}
	held, err := e.Hold(ctx, ledger.HoldRequest{Key: "old:hold:part", Debit: b, Credit: c, Amount: 1000, Currency: ledger.EUR})
	if err != nil || held.Status != ledger.HoldPending || held.Posted != 400 {
		t.Errorf("a repeat of a hold = %+v, %v; want the first one, posted in part", held, err)
	}
	part := ledger.PostHoldRequest{Key: "old:hold:part:1", HoldID: held.ID, Amount: 400, Journal: "OD", Label: "A part", EffectiveDate: day(t, "2026-03-02")}
	if again, err := e.PostHold(ctx, part); err != nil || again.ID != ledger.IDOfKey(part.Key) || again.HoldID != held.ID {
		t.Errorf("a repeat of posting a hold = %+v, %v; want the first answer", again, err)
	}
	voided := ledger.IDOfKey("old:hold:void")
	if again, err := e.VoidHold(ctx, ledger.VoidHoldRequest{Key: "old:void", HoldID: voided}); err != nil || again.ID != voided || again.Status != ledger.HoldVoided {
		t.Errorf("a repeat of voiding a hold = %+v, %v; want the first answer", again, err)
	}
	undo := ledger.ReverseRequest{Key: "old:undo", TransactionID: made.ID, Label: "Undone", EffectiveDate: day(t, "2026-03-01"), Metadata: map[string]string{"by": "alice"}}
	if again, err := e.Reverse(ctx, undo); err != nil || again.ID != ledger.IDOfKey(undo.Key) || again.Reverses != made.ID {
		t.Errorf("a repeat of a reversal = %+v, %v; want the first answer", again, err)
	}
	verify(t, e, engine.Report{Transactions: 22, Postings: 29, Holds: 10, Accounts: 16})

	other := three
	other.Label = "Another"
	_, err = e.Post(ctx, other)
	wantCode(t, "another request with an old key", err, ledger.CodeConflict)
	undo.Key = "new:undo"
	_, err = e.Reverse(ctx, undo)
	wantCode(t, "a second reversal", err, ledger.CodeAlreadyReversed)
	_, err = e.VoidHold(ctx, ledger.VoidHoldRequest{Key: "new:void", HoldID: voided})
	wantCode(t, "a second release", err, ledger.CodeHoldClosed)

	if _, err := e.Reverse(ctx, ledger.ReverseRequest{Key: "new:undo:kept", TransactionID: ledger.IDOfKey("old:three:kept"), Label: "Undone"}); err != nil {
		t.Errorf("reverse an old transaction: %v", err)
	}
	rest, err := e.PostHold(ctx, ledger.PostHoldRequest{Key: "new:hold:rest", HoldID: held.ID, Journal: "OD", Label: "The rest"})
	if err != nil || rest.Postings[0].Amount != 600 {
		t.Errorf("post the rest of an old hold = %+v, %v; want 6.00", rest, err)
	}
	account := ledger.Account{ID: ledger.SystemAccountID("new:d"), Code: "new:d", Name: "A new account", Category: ledger.CharityPayable,
		Side: ledger.Credit, Currency: ledger.EUR, Shards: 2}
	if _, err := e.OpenAccount(ctx, account); err != nil {
		t.Errorf("open an account beside the old ones: %v", err)
	}
	if _, err := e.Post(ctx, ledger.PostRequest{Key: "new:one", Journal: "OD", Label: "On an old date", EffectiveDate: day(t, "2026-02-28"),
		Postings: []ledger.Posting{posting(a, account.ID, 5)}}); err != nil {
		t.Errorf("post beside the old postings: %v", err)
	}
	verify(t, e, engine.Report{Transactions: 25, Postings: 34, Holds: 10, Accounts: 17})
}

// Down from the journal in pages is for a book that has no postings yet.
func TestWayBackFromPages(t *testing.T) {
	for _, name := range wayBackEngines(t) {
		t.Run(string(name), func(t *testing.T) {
			ctx := t.Context()
			db := openEmpty(t, name)
			migrateUpTo(t, db, 3)
			old := tables(t, db)
			migrateUp(t, db)
			newest := tables(t, db)
			exec(t, db, oldAccount(db))
			if err := db.MigrateDownTo(ctx, 3); err != nil {
				t.Fatal(err)
			}
			wantTables(t, "after the way back", tables(t, db), old)
			if n := count(t, db, "SELECT COUNT(*) FROM accounts"); n != 1 {
				t.Errorf("%d accounts came back; want 1", n)
			}
			exec(t, db, "DELETE FROM accounts")
			fill(t, db) // constraints and all
			migrateUp(t, db)
			wantTables(t, "after the way back and forth", tables(t, db), newest)
			e := engine.New(db, engine.Options{})
			t.Cleanup(e.Close)
			verify(t, e, engine.Report{Transactions: 22, Postings: 29, Holds: 10, Accounts: 16})
		})
	}
}

func TestNoWayBackFromPagesWithPostings(t *testing.T) {
	for _, name := range wayBackEngines(t) {
		t.Run(string(name), func(t *testing.T) {
			ctx := t.Context()
			db := openBook3(t, name)
			migrateUp(t, db)
			newest := tables(t, db)
			if err := db.MigrateDownTo(ctx, 3); sqldb.ClassOf(err) != sqldb.ClassCheck {
				t.Fatalf("way back of a book with postings: %v; want a refusal", err)
			}
			migrateUp(t, db) // what version 5 added had nothing in it and went
			wantTables(t, "after the refusal", tables(t, db), newest)
			e := engine.New(db, engine.Options{})
			t.Cleanup(e.Close)
			verify(t, e, engine.Report{Transactions: 22, Postings: 29, Holds: 10, Accounts: 16})
		})
	}
}

// wayBackEngines leaves out CockroachDB, whose tables take half a minute to drop
// one by one.
func wayBackEngines(t *testing.T) []sqldb.Engine {
	return slices.DeleteFunc(sqltest.Engines(t), func(e sqldb.Engine) bool { return e == sqldb.CockroachDB })
}

func oldAccount(db *sqldb.DB) string {
	number, value := "", ""
	if db.Engine() == sqldb.SQLite { // which numbers accounts only when they are moved
		number, value = ", no", ", 1"
	}
	return forEngine(db.Engine(), `INSERT INTO accounts (id, code, name, category, side, currency, shards, status, opened_at`+number+`)
		VALUES (X'8928a8aecd375727a86a8d9bb507a88d', 'lone', 'Lone', 'x', 'debit', 'EUR', 1, 'open', '2026-01-01T00:00:00.000000Z'`+value+`)`)
}

// openBook3 returns a database with book3, at version 3.
func openBook3(t *testing.T, engine sqldb.Engine) *sqldb.DB {
	t.Helper()
	db := openEmpty(t, engine)
	migrateUpTo(t, db, 3)
	fill(t, db)
	return db
}

func fill(t *testing.T, db *sqldb.DB) {
	t.Helper()
	write(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
		for statement := range strings.SplitSeq(forEngine(db.Engine(), book3), ";\n") {
			if strings.TrimSpace(statement) == "" {
				continue
			}
			if _, err := tx.Exec(ctx, statement); err != nil {
				return fmt.Errorf("%.80s: %w", statement, err)
			}
		}
		return nil
	})
}

var blobs = regexp.MustCompile("X'([0-9a-f]+)'")

// forEngine puts SQL for SQLite into the words of engine: ids and hashes are
// written otherwise.
func forEngine(engine sqldb.Engine, statements string) string {
	if engine == sqldb.SQLite {
		return statements
	}
	const idLength = len("X''") + 2*16
	return blobs.ReplaceAllStringFunc(statements, func(blob string) string {
		if len(blob) == idLength {
			return blob[1:]
		}
		return `'\x` + blob[2:]
	})
}

func migrateUp(t *testing.T, db *sqldb.DB) {
	t.Helper()
	if _, err := db.MigrateUp(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func migrateUpTo(t *testing.T, db *sqldb.DB, version int64) {
	t.Helper()
	if err := db.MigrateUpTo(t.Context(), version); err != nil {
		t.Fatal(err)
	}
}

// rowsOf returns the rows of a query as text.
func rowsOf(t *testing.T, db *sqldb.DB, query string) []string {
	t.Helper()
	var found []string
	read(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
		found = nil
		rows, err := tx.Query(ctx, query)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			row, err := rows.Values()
			if err != nil {
				return err
			}
			found = append(found, fmt.Sprintf("%v", row))
		}
		return rows.Err()
	})
	return found
}

func wantTables(t *testing.T, when string, got, want map[string][]string) {
	t.Helper()
	for table, columns := range want {
		if !slices.Equal(got[table], columns) {
			t.Errorf("%s, table %s has columns\n%v; want\n%v", when, table, got[table], columns)
		}
	}
	for table := range got {
		if _, ok := want[table]; !ok {
			t.Errorf("%s, there is a table %s", when, table)
		}
	}
}

func verify(t *testing.T, e *engine.Engine, want engine.Report) {
	t.Helper()
	got, err := e.Verify(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, difference := range got.Differences {
		t.Error(difference)
	}
	if got.Transactions != want.Transactions || got.Postings != want.Postings || got.Holds != want.Holds || got.Accounts != want.Accounts {
		t.Errorf("the book has %+v; want %+v", got, want)
	}
}

func wantCode(t *testing.T, what string, err error, want ledger.Code) {
	t.Helper()
	if ledger.CodeOf(err) != want {
		t.Errorf("%s: %v; want %s", what, err, want)
	}
}

func day(t *testing.T, text string) ledger.Date {
	t.Helper()
	d, err := ledger.ParseDate(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
