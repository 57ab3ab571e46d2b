package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// numberedAccount is an account with the short number by which postings and
// balances refer to it. Number, side, currency and shards never change.
type numberedAccount struct {
	ledger.Account
	no int64
}

// accountsByID returns the accounts with the given ids. Ids that no account has
// are left out.
func accountsByID(ctx context.Context, tx *sqldb.Tx, ids []uuid.UUID) ([]numberedAccount, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	return sqldb.Collect(ctx, tx, "SELECT no, "+accountColumns+" FROM accounts WHERE "+tx.AnyUUID("id", 1), []any{ids}, scanNumbered)
}

func scanNumbered(rows *sqldb.Rows) (numberedAccount, error) {
	var a numberedAccount
	err := rows.Scan(append([]any{&a.no}, accountFields(&a.Account)...)...)
	return a, err
}

// accountNo returns the number of an account, or CodeNotFound.
func accountNo(ctx context.Context, tx *sqldb.Tx, id uuid.UUID) (int64, error) {
	var no int64
	err := tx.QueryRow(ctx, "SELECT no FROM accounts WHERE id = $1", []any{id}, &no)
	if sqldb.IsNoRows(err) {
		return 0, ledger.Errorf(ledger.CodeNotFound, "there is no account %s", id)
	}
	return no, err
}

const accountColumns = "id, code, name, category, side, currency, min_balance, max_balance, shards, status, opened_at"

func scanAccount(rows *sqldb.Rows) (ledger.Account, error) {
	var a ledger.Account
	err := rows.Scan(accountFields(&a)...)
	return a, err
}

func accountFields(a *ledger.Account) []any {
	return []any{&a.ID, &a.Code, &a.Name, &a.Category, &a.Side, &a.Currency, &a.Min, &a.Max, &a.Shards, &a.Status, &a.OpenedAt}
}

// OpenAccount adds an account to the book, with balance 0, and returns it. To
// open it again with the same content changes nothing; other content under the
// same id, or the same code under another id, is CodeConflict.
func (e *Engine) OpenAccount(ctx context.Context, a ledger.Account) (ledger.Account, error) {
	var opened ledger.Account
	err := e.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		opened, err = e.OpenAccountTx(ctx, tx, a)
		return err
	})
	return opened, asLedgerError(err)
}

// OpenAccountTx is OpenAccount inside the caller's transaction.
func (e *Engine) OpenAccountTx(ctx context.Context, tx *sqldb.Tx, a ledger.Account) (ledger.Account, error) {
	a.Status = ledger.AccountOpen
	if a.OpenedAt.IsZero() {
		a.OpenedAt = e.Now()
	}
	a.OpenedAt = a.OpenedAt.UTC().Truncate(time.Microsecond)
	if err := a.Validate(); err != nil {
		return ledger.Account{}, err
	}
	var found []ledger.Account
	err := tx.Each(ctx, "SELECT "+accountColumns+" FROM accounts WHERE id = $1 OR code = $2", []any{a.ID, a.Code},
		func(rows *sqldb.Rows) error {
			other, err := scanAccount(rows)
			found = append(found, other)
			return err
		})
	if err != nil {
		return ledger.Account{}, fmt.Errorf("look for account %s: %w", a.Code, err)
	}
	if len(found) > 0 {
		other := found[0]
		if sameAccount(other, a) {
			return other, nil
		}
		return ledger.Account{}, ledger.Errorf(ledger.CodeConflict,
			"there is another account with code %s or id %s; choose another code", other.Code, other.ID).InField("code")
	}
	var no int64
	err = tx.QueryRow(ctx, "INSERT INTO accounts ("+accountColumns+", no) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, "+
		nextAccountNo(tx)+") RETURNING no", []any{
		a.ID, a.Code, a.Name, string(a.Category), string(a.Side), string(a.Currency), nullAmount(a.Min), nullAmount(a.Max),
		int64(a.Shards), string(a.Status), a.OpenedAt}, &no)
	if err != nil {
		return ledger.Account{}, fmt.Errorf("open account %s: %w", a.Code, takenSince(err))
	}
	err = tx.Insert(ctx, "balances", []sqldb.Column{
		{Name: "account_no", Type: "int8"}, {Name: "shard", Type: "int8"}, {Name: "currency", Type: "text"},
		{Name: "side", Type: "text"}, {Name: "min_balance", Type: "int8"}, {Name: "max_balance", Type: "int8"},
		{Name: "changed_at", Type: "timestamptz"},
	}, a.Shards, func(i int) []any {
		return []any{no, int64(i), string(a.Currency), string(a.Side), nullAmount(a.Min), nullAmount(a.Max), a.OpenedAt}
	})
	if err != nil {
		return ledger.Account{}, fmt.Errorf("open account %s: %w", a.Code, err)
	}
	return a, nil
}

// takenSince asks for the whole transaction to be run again where a key was taken
// that was free when the transaction looked: it will find what another one made,
// and answer by that. PostgreSQL says so by a unique violation.
func takenSince(err error) error {
	if sqldb.ClassOf(err) == sqldb.ClassUnique {
		return sqldb.Again(err)
	}
	return err
}

// nextAccountNo returns the expression of a new account's number. Servers have a
// generator that no two transactions wait for; SQLite has one writer.
func nextAccountNo(tx *sqldb.Tx) string {
	if tx.Engine() == sqldb.SQLite {
		return "(SELECT COALESCE(MAX(no), 0) + 1 FROM accounts)"
	}
	return "DEFAULT"
}

// sameAccount compares what never changes.
func sameAccount(a, b ledger.Account) bool {
	return a.ID == b.ID && a.Code == b.Code && a.Name == b.Name && a.Category == b.Category && a.Side == b.Side &&
		a.Currency == b.Currency && a.Shards == b.Shards && sameAmount(a.Min, b.Min) && sameAmount(a.Max, b.Max)
}

func sameAmount(a, b *ledger.Amount) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

func nullAmount(a *ledger.Amount) any {
	if a == nil {
		return nil
	}
	return int64(*a)
}

// FindAccount returns the account with the given id, or CodeNotFound.
func FindAccount(ctx context.Context, tx *sqldb.Tx, id uuid.UUID) (ledger.Account, error) {
	return oneAccount(ctx, tx, "id = $1", id, id.String())
}

// FindAccountByCode returns the account with the given code, or CodeNotFound.
func FindAccountByCode(ctx context.Context, tx *sqldb.Tx, code string) (ledger.Account, error) {
	return oneAccount(ctx, tx, "code = $1", code, code)
}

func oneAccount(ctx context.Context, tx *sqldb.Tx, where string, arg any, name string) (ledger.Account, error) {
	var found []ledger.Account
	err := tx.Each(ctx, "SELECT "+accountColumns+" FROM accounts WHERE "+where, []any{arg}, func(rows *sqldb.Rows) error {
		a, err := scanAccount(rows)
		found = append(found, a)
		return err
	})
	if err != nil {
		return ledger.Account{}, fmt.Errorf("find account %s: %w", name, err)
	}
	if len(found) == 0 {
		return ledger.Account{}, ledger.Errorf(ledger.CodeNotFound, "there is no account %q; `tweetledger account list` shows those there are", name)
	}
	return found[0], nil
}

// AccountFilter selects accounts, in the order of their codes.
type AccountFilter struct {
	Category  ledger.Category // empty: all
	AfterCode string          // for the next page: the last code of the one before
	Limit     int             // 1 to MaxPage
}

// MaxPage bounds the rows of one page of any list.
const MaxPage = 10_000

// ListAccounts returns a page of accounts.
func ListAccounts(ctx context.Context, tx *sqldb.Tx, f AccountFilter) ([]ledger.Account, error) {
	if err := sqldb.CheckPage(f.Limit, MaxPage); err != nil {
		return nil, err
	}
	query, args := "SELECT "+accountColumns+" FROM accounts WHERE code > $1", []any{f.AfterCode}
	if f.Category != "" {
		query, args = query+" AND category = $2", append(args, string(f.Category))
	}
	var list []ledger.Account
	err := tx.Each(ctx, fmt.Sprintf("%s ORDER BY code LIMIT %d", query, f.Limit), args, func(rows *sqldb.Rows) error {
		a, err := scanAccount(rows)
		list = append(list, a)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	return list, nil
}
