package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/rogpeppe/go-internal/testscript"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// roleBook is a book on a server with the roles of "tweetledger roles".
type roleBook struct {
	engine sqldb.Engine
	url    string // of who may do everything
	admin  *sqldb.DB
}

func TestRoles(t *testing.T) {
	t.Parallel()
	for _, e := range []sqldb.Engine{sqldb.PostgreSQL, sqldb.CockroachDB} {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			sqltest.WholeOnly(t, e)
			b := newRoleBook(t, e)
			serving, reading, migrating := b.userOf(t, sqldb.ServingRole), b.userOf(t, sqldb.ReadingRole), b.userOf(t, sqldb.MigratingRole)
			t.Run("the service tells its story", func(t *testing.T) { tellStory(t, serving) })
			t.Run("the ledger works", func(t *testing.T) { ledgerWorks(t, serving) })
			t.Run("the service changes nothing that was posted", func(t *testing.T) { servingIsBound(t, b, serving) })
			t.Run("an eraser takes out words", func(t *testing.T) { erasingIsBound(t, b, b.userOf(t, sqldb.ErasingRole)) })
			t.Run("reports are read", func(t *testing.T) { readingReads(t, b, reading) })
			t.Run("the schema is changed", func(t *testing.T) { migratingMigrates(t, migrating) })
		})
	}
}

// newRoleBook makes a book and its roles, these twice: the script can be run again.
func newRoleBook(t *testing.T, e sqldb.Engine) *roleBook {
	b := &roleBook{engine: e, url: sqltest.EmptyURL(t, e)}
	b.admin = openAs(t, b.url)
	if _, err := b.admin.MigrateUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	var script bytes.Buffer
	env := steered(firstMinute, strings.NewReader(""), &script, &script, func(string) string { return "" })
	if code := run(t.Context(), []string{"roles", "--db", b.url}, env); code != exitOK {
		t.Fatalf("exit code %d: %s", code, script.String())
	}
	for range 2 {
		b.exec(t, script.String())
	}
	return b
}

func openAs(t *testing.T, rawURL string) *sqldb.DB {
	db, err := sqldb.Open(t.Context(), rawURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// exec runs what may be many statements.
func (b *roleBook) exec(t *testing.T, sql string) {
	t.Helper()
	if _, err := b.admin.Pool().ExecContext(context.WithoutCancel(t.Context()), sql); err != nil {
		t.Fatalf("%v in:\n%s", err, sql)
	}
}

// texts returns the one column of a query.
func (b *roleBook) texts(t *testing.T, query string) []string {
	t.Helper()
	var list []string
	err := b.admin.Read(context.WithoutCancel(t.Context()), func(ctx context.Context, tx *sqldb.Tx) (err error) {
		list, err = sqldb.Collect(ctx, tx, query, nil, func(rows *sqldb.Rows) (text string, err error) {
			err = rows.Scan(&text)
			return text, err
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// userOf makes a user with a role, for the time of the test, and returns the URL that
// connects it.
func (b *roleBook) userOf(t *testing.T, role string) string {
	suffix := make([]byte, 8)
	_, _ = rand.Read(suffix) // never fails
	name, password := role+"_"+hex.EncodeToString(suffix), rand.Text()
	u, err := url.Parse(b.url)
	if err != nil {
		t.Fatal(err)
	}
	if b.engine == sqldb.CockroachDB { // the tests' servers know no passwords
		b.exec(t, "CREATE USER "+name)
		u.User = url.User(name)
	} else {
		b.exec(t, "CREATE USER "+name+" PASSWORD '"+password+"'")
		u.User = url.UserPassword(name, password)
	}
	t.Cleanup(func() { b.exec(t, "DROP USER "+name) })
	b.exec(t, "GRANT "+role+" TO "+name)
	return u.String()
}

// applied is a line of the story that only holds of a book that is not migrated yet.
var applied = regexp.MustCompile(`(?m)^stdout '\S+ migrations applied'$`)

// theEnd is the last line of the story, and proven what follows on it here.
const (
	theEnd = "cmp stdout verify.txt\n"
	proven = `exec tweetledger seal run
exec tweetledger seal keygen --out seal.pem
exec tweetledger seal heads --key seal.pem --out heads.json
exec tweetledger verify --heads heads.json --public-key seal.pem.pub
stdout '^the book verifies'
`
)

// tellStory runs the story of TestEngines, from the first customer to verify, and
// proves its book against signed heads.
func tellStory(t *testing.T, serving string) {
	story, err := os.ReadFile(filepath.Join("testdata", "engines", "story.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(applied.FindAll(story, -1)); n != 2 {
		t.Fatalf("%d lines of the story are about migrations, not 2", n)
	}
	if n := bytes.Count(story, []byte(theEnd)); n != 1 {
		t.Fatalf("%d lines of the story are %q", n, theEnd)
	}
	story = applied.ReplaceAll(story, []byte("stdout '0 migrations applied'"))
	story = bytes.Replace(story, []byte(theEnd), []byte(theEnd+proven), 1)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "story.txtar"), story, 0o600); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, params(dir, func(env *testscript.Env) error {
		env.Setenv("TWEETLEDGER_DB", serving)
		return nil
	}))
}

// ledgerWorks does once all that the ledger can, as the service's user.
func ledgerWorks(t *testing.T, serving string) {
	ctx := t.Context()
	clock := &ticker{now: time.Date(2025, time.December, 31, 10, 0, 0, 0, time.UTC)}
	e := engine.New(openAs(t, serving), engine.Options{Clock: clock.tick})
	defer e.Close()
	keys := 0
	key := func() string { keys++; return fmt.Sprint("roles:", keys) }
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	zero := ledger.Amount(0)
	open := func(code string, category ledger.Category, side ledger.Side, floor *ledger.Amount) ledger.Account {
		t.Helper()
		a, err := e.OpenAccount(ctx, ledger.Account{ID: uuid.New(), Code: code, Name: code, Category: category, Side: side,
			Currency: ledger.EUR, Min: floor, Shards: 1})
		check(err)
		return a
	}
	bank := open("roles-bank", ledger.OwnAccount, ledger.Debit, nil)
	wallet := open("roles-wallet", ledger.CustomerEMoney, ledger.Credit, &zero)
	fees := open("roles-fees", ledger.Commissions, ledger.Credit, nil)
	post := func(debit, credit ledger.Account, amount ledger.Amount) ledger.Transaction {
		t.Helper()
		made, err := e.Post(ctx, ledger.PostRequest{Key: key(), Journal: "OD", Label: "Roles", Postings: []ledger.Posting{
			{Debit: debit.ID, Credit: credit.ID, Amount: amount, Currency: ledger.EUR}}})
		check(err)
		return made
	}
	post(bank, wallet, 100_00)
	wrong := post(bank, wallet, 1_00)
	_, err := e.Reverse(ctx, ledger.ReverseRequest{Key: key(), TransactionID: wrong.ID, Label: "Undo"})
	check(err)
	hold := func() ledger.Hold {
		t.Helper()
		h, err := e.Hold(ctx, ledger.HoldRequest{Key: key(), Debit: wallet.ID, Credit: fees.ID, Amount: 10_00, Currency: ledger.EUR})
		check(err)
		return h
	}
	_, err = e.PostHold(ctx, ledger.PostHoldRequest{Key: key(), HoldID: hold().ID, Amount: 4_00, Journal: "OD", Label: "Roles", ReleaseRest: true})
	check(err)
	_, err = e.VoidHold(ctx, ledger.VoidHoldRequest{Key: key(), HoldID: hold().ID})
	check(err)
	_, err = e.Hold(ctx, ledger.HoldRequest{Key: key(), Debit: wallet.ID, Credit: fees.ID, Amount: 1_00, Currency: ledger.EUR, ExpiresAt: clock.now.Add(time.Minute)})
	check(err)
	unused := open("roles-unused", ledger.OwnAccount, ledger.Debit, nil)
	_, err = e.CloseAccount(ctx, unused.ID, "anne", "not needed")
	check(err)
	_, err = e.ReopenAccount(ctx, unused.ID, "anne", "needed")
	check(err)

	const job = "roles" // the sealer's own lease is the story's, whose time is later
	lease, got, err := e.AcquireLease(ctx, job, "roles", time.Hour)
	if err != nil || !got {
		t.Fatal(got, err)
	}
	seal := func(ctx context.Context) error {
		for {
			sealed, err := e.Seal(ctx, lease)
			if err != nil || !sealed.More {
				return err
			}
		}
	}
	check(seal(ctx))
	clock.now = time.Date(2026, time.February, 1, 10, 0, 0, 0, time.UTC)
	lease, got, err = e.AcquireLease(ctx, job, "roles", time.Hour)
	if err != nil || !got {
		t.Fatal(got, err)
	}
	closed, err := e.CloseFiscalYear(ctx, engine.YearClosing{Year: 2025, By: "anne", Seal: seal})
	check(err)
	if closed.Entries == 0 || closed.Openings == 0 {
		t.Fatalf("closing the year did nothing: %+v", closed)
	}
	for _, to := range []ledger.PeriodStatus{ledger.PeriodOpen, ledger.PeriodSoftClosed} {
		_, err = e.ChangePeriod(ctx, ledger.PeriodChange{Period: "2025-12", To: to, By: "anne", ApprovedBy: "bruno", Reason: "a late invoice"})
		check(err)
	}
	if n, err := e.ExpireHolds(ctx, 10); n != 1 || err != nil {
		t.Fatalf("%d holds expired (%v), not 1", n, err)
	}
	check(e.DB().Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		signed, err := e.SignHeads(ctx, tx, "roles", ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
		if err != nil {
			return err
		}
		return lease.Done(ctx, tx, signed.At)
	}))
	check(e.ReleaseLease(ctx, lease))
	report, err := e.Verify(ctx, nil)
	check(err)
	if !report.OK() {
		t.Fatalf("the book does not verify: %v", report.Differences)
	}
}

// servingMay is what the serving role may change or delete, by table: columns, or *
// for all. What is not here it may only add to.
var (
	servingMayUpdate = map[string]string{
		"accounts": "status", "holds": "posted status closed_at", "periods": "status", "seal_heads": "number link",
		"balances":     "debits_posted credits_posted debits_pending credits_pending version changed_at closed_debits closed_credits",
		"account_days": "debits credits", "chart_entries": "number label", "leases": "holder token expires_at done_at", "payout_items": "live",
		"gathered_days": "credits freed",
		"customers":     "*", "payees": "*", "links": "*", "link_invitations": "*", "messages": "*", "orders": "*", "outbox": "*", "payout_batches": "*", "payouts": "*",
		"enrolments": "*", "one_time_codes": "*", "payee_proposals": "*",
		"cards": "*", "charges": "*", "disputes": "*", "approvals": "*", "account_invitations": "*", "card_registrations": "*", "card_detachments": "*",
		"reconciliation_runs": "*", "breaks": "*", "break_proposals": "*",
		"unclaimed_payments": "state reason due_at reminded_at customer_id transaction_id closed_on closed_at",
		"bank_messages":      "state entries details content_hash touched_at", "settlement_files": "state lines content_hash touched_at",
		"bank_findings": "closed_by closed_at", "settlement_payouts": "statement_id entry detail transaction_id",
		"iban_flags": "vouched_by vouched_at vouched_for lifted_by lifted_at lifted_for",
	}
	// erasingMayUpdate is what the erasing role may change beside that.
	erasingMayUpdate = map[string]string{
		"party_events": "reason", "order_events": "reason", "enrolment_events": "reason", "charge_events": "reason", "party_changes": "old_value new_value reason",
		"screening_hits": "detail", "paid_payees": "payee_user_id", "unclaimed_payments": "user_id",
	}
	servingMayDelete = map[string]bool{"unsealed_pages": true, "opening_balances": true, "deletions": true, "handle_keys": true, "links": true, "one_time_codes": true, "card_detachments": true,
		"bank_messages": true, "bank_message_rows": true, "settlement_files": true, "settlement_lines": true}
	servingMayNotAdd = map[string]bool{"goose_db_version": true}
)

// servingIsBound tries everything on every table: what is not granted is refused, and
// what is granted is not more than the code needs.
func servingIsBound(t *testing.T, b *roleBook, serving string) {
	db := openAs(t, serving)
	for _, table := range b.tables(t) {
		allows(t, db, true, "SELECT 1 FROM "+table+" LIMIT 1")
		b.mayUpdate(t, db, table, servingMayUpdate)
		allows(t, db, !servingMayNotAdd[table], "INSERT INTO "+table+" SELECT * FROM "+table+" WHERE 1 = 0")
		allows(t, db, servingMayDelete[table], "DELETE FROM "+table+" WHERE 1 = 0")
		allows(t, db, false, "TRUNCATE "+table)
		allows(t, db, false, "ALTER TABLE "+table+" RENAME TO mine")
		if _, listed := servingMayUpdate[table]; listed {
			allows(t, db, true, "SELECT 1 FROM "+table+" LIMIT 1 FOR UPDATE")
		}
	}
	allows(t, db, false, "CREATE TABLE mine (id int8)")
	allows(t, db, false, "CREATE ROLE mine")
	if b.engine == sqldb.PostgreSQL { // CockroachDB has none by default
		allows(t, db, false, "CREATE TEMPORARY TABLE periods (id int8)")
	}
}

// mayUpdate tries to change every column of a table: those may be that one of lists has.
func (b *roleBook) mayUpdate(t *testing.T, db *sqldb.DB, table string, lists ...map[string]string) {
	for _, column := range b.texts(t, "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = '"+table+"'") {
		granted := false
		for _, list := range lists {
			may, listed := list[table]
			granted = granted || (listed && (may == "*" || b.engine == sqldb.CockroachDB || strings.Contains(" "+may+" ", " "+column+" ")))
		}
		allows(t, db, granted, "UPDATE "+table+" SET "+column+" = NULL WHERE 1 = 0")
	}
}

// erasingIsBound tries to change and delete everything: not even an eraser changes what
// was posted, nor who did what and when.
func erasingIsBound(t *testing.T, b *roleBook, erasing string) {
	db := openAs(t, erasing)
	for _, table := range b.tables(t) {
		b.mayUpdate(t, db, table, servingMayUpdate, erasingMayUpdate)
		allows(t, db, servingMayDelete[table], "DELETE FROM "+table+" WHERE 1 = 0")
	}
}

func (b *roleBook) tables(t *testing.T) []string {
	list := b.texts(t, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE' ORDER BY table_name")
	if len(list) < len(servingMayUpdate) {
		t.Fatalf("only %d tables: %v", len(list), list)
	}
	return list
}

// permissionDenied is SQLSTATE insufficient_privilege.
const permissionDenied = "42501"

// allows runs a statement, which is granted or must be refused for want of a grant. It
// is undone in any case.
func allows(t *testing.T, db *sqldb.DB, granted bool, statement string) {
	t.Helper()
	undo := errors.New("undo")
	err := db.Write(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return err
		}
		return undo
	})
	refusal, refused := errors.AsType[*pgconn.PgError](err)
	switch {
	case granted && !errors.Is(err, undo):
		t.Errorf("%s: %v", statement, err)
	case !granted && (!refused || refusal.Code != permissionDenied):
		t.Errorf("%s must be refused; got %v", statement, err)
	}
}

func readingReads(t *testing.T, b *roleBook, reading string) {
	db := openAs(t, reading)
	for _, table := range b.tables(t) {
		allows(t, db, true, "SELECT 1 FROM "+table+" LIMIT 1")
		allows(t, db, false, "INSERT INTO "+table+" SELECT * FROM "+table+" WHERE 1 = 0")
		allows(t, db, false, "DELETE FROM "+table+" WHERE 1 = 0")
		allows(t, db, false, "TRUNCATE "+table)
	}
	allows(t, db, true, "SELECT 1 FROM transactions LIMIT 1")
	for _, args := range [][]string{{"report", "trial-balance"}, {"report", "journal"}, {"verify"}} {
		var out bytes.Buffer
		env := steered(firstMinute, strings.NewReader(""), &out, &out, func(name string) string {
			return map[string]string{"TWEETLEDGER_DB": reading, "TWEETLEDGER_KEY": testKey}[name]
		})
		if code := run(t.Context(), args, env); code != exitOK {
			t.Errorf("%v: exit code %d: %s", args, code, out.String())
		}
	}
}

func migratingMigrates(t *testing.T, migrating string) {
	db := openAs(t, migrating)
	if made, err := db.MigrateUp(t.Context()); err != nil || len(made) > 0 {
		t.Errorf("migrations on a book that has them: %v, %v", made, err)
	}
	for _, statement := range []string{"CREATE TABLE later (id int8 PRIMARY KEY)", "ALTER TABLE postings ADD COLUMN later int8",
		"ALTER TABLE orders RENAME TO wishes", "DELETE FROM leases"} {
		allows(t, db, true, statement)
	}
}
