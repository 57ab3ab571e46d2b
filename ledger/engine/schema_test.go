package engine_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
)

// row is a row of a table, by column.
type row map[string]any

// insert writes a row, with some of its values changed.
func (w *world) insert(table string, values, changes row) error {
	values = maps.Clone(values)
	maps.Copy(values, changes)
	columns := slices.Sorted(maps.Keys(values))
	marks, args := make([]string, len(columns)), make([]any, len(columns))
	for i, c := range columns {
		marks[i], args[i] = fmt.Sprintf("$%d", i+1), values[c]
	}
	return w.db.Write(w.ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO "+table+" ("+strings.Join(columns, ", ")+") VALUES ("+strings.Join(marks, ", ")+")", args...)
		return err
	})
}

// The database by itself refuses what must not be in a book, whatever program
// writes to it.
func TestSchemaRefuses(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		made := w.mustPost(w.transfer(w.cash, w.marie, 1000))
		reversed := w.mustPost(w.transfer(w.cash, w.marie, 1))
		if _, err := w.Reverse(w.ctx, ledger.ReverseRequest{Key: w.key(), TransactionID: reversed.ID, Label: "Back"}); err != nil {
			t.Fatal(err)
		}
		held, voided := w.mustHold(w.holdOf(w.marie, w.yoann, 100)), w.mustHold(w.holdOf(w.marie, w.yoann, 1))
		void := ledger.VoidHoldRequest{Key: w.key(), HoldID: voided.ID}
		if _, err := w.VoidHold(w.ctx, void); err != nil {
			t.Fatal(err)
		}
		dollars := w.open(ledger.Account{Code: "dollars", Category: ledger.OwnAccount, Side: ledger.Debit, Currency: "USD"})
		w.mustExec("UPDATE balances SET debits_posted = 9223372036854775807 WHERE account_id = " + w.lit(dollars.ID))

		now, today, hash := w.Now(), w.Today(), sha256.Sum256(nil)
		account := row{"id": uuid.New(), "code": "raw", "name": "Raw", "category": "suspense", "side": "credit", "currency": "EUR",
			"shards": int64(1), "status": "open", "opened_at": now}
		transaction := row{"id": uuid.New(), "idempotency_key": "raw", "request_hash": hash, "journal": "OD", "label": "Raw",
			"effective_date": today, "recorded_at": now, "metadata": "{}", "postings": int64(1)}
		posting := row{"transaction_id": made.ID, "ordinal": int64(1), "debit_account_id": w.cash.ID, "credit_account_id": w.marie.ID,
			"amount": int64(1), "currency": "EUR", "effective_date": today, "recorded_at": now}
		hold := row{"id": uuid.New(), "idempotency_key": "raw", "request_hash": hash, "debit_account_id": w.cash.ID, "credit_account_id": w.marie.ID,
			"amount": int64(10), "posted": int64(0), "currency": "EUR", "status": "pending", "recorded_at": now}
		release := row{"id": uuid.New(), "idempotency_key": "raw", "request_hash": hash, "hold_id": held.ID, "amount": int64(1), "recorded_at": now}
		balance := row{"account_id": w.cash.ID, "shard": int64(1), "currency": "EUR", "side": "debit"}

		const (
			check   = sqldb.ClassCheck
			foreign = sqldb.ClassForeignKey
			unique  = sqldb.ClassUnique
		)
		for _, c := range []struct {
			name    string
			table   string
			values  row
			changes row
			want    sqldb.Class
		}{
			{"posting of nothing", "postings", posting, row{"amount": int64(0)}, check},
			{"negative posting", "postings", posting, row{"amount": int64(-1)}, check},
			{"posting to one account", "postings", posting, row{"credit_account_id": w.cash.ID}, check},
			{"posting in another currency", "postings", posting, row{"currency": "USD"}, foreign},
			{"posting of two currencies", "postings", posting, row{"debit_account_id": dollars.ID}, foreign},
			{"posting to no account", "postings", posting, row{"credit_account_id": uuid.New()}, foreign},
			{"posting of no transaction", "postings", posting, row{"transaction_id": uuid.New()}, foreign},
			{"posting with the place of another", "postings", posting, row{"ordinal": int64(0)}, unique},
			{"posting at place -1", "postings", posting, row{"ordinal": int64(-1)}, check},
			{"posting at place 1000", "postings", posting, row{"ordinal": int64(1000)}, check},
			{"posting without an amount", "postings", posting, row{"amount": nil}, check},

			{"transaction with the id of another", "transactions", transaction, row{"id": made.ID}, unique},
			{"second reversal", "transactions", transaction, row{"reverses": reversed.ID}, unique},
			{"reversal of nothing", "transactions", transaction, row{"reverses": uuid.New()}, foreign},
			{"transaction without postings", "transactions", transaction, row{"postings": int64(0)}, check},
			{"transaction with too many postings", "transactions", transaction, row{"postings": int64(1001)}, check},
			{"transaction without a journal", "transactions", transaction, row{"journal": ""}, check},
			{"transaction with a long journal", "transactions", transaction, row{"journal": "VIREMENTS"}, check},
			{"transaction without a label", "transactions", transaction, row{"label": nil}, check},
			{"transaction with half a hash", "transactions", transaction, row{"request_hash": hash[:16]}, check},

			{"hold with the id of another", "holds", hold, row{"id": held.ID}, unique},
			{"hold of nothing", "holds", hold, row{"amount": int64(0)}, check},
			{"hold of which more was posted", "holds", hold, row{"posted": int64(11), "status": "posted", "closed_at": now}, check},
			{"hold of which less than nothing was posted", "holds", hold, row{"posted": int64(-1)}, check},
			{"pending hold with nothing left", "holds", hold, row{"posted": int64(10)}, check},
			{"pending hold that was closed", "holds", hold, row{"closed_at": now}, check},
			{"voided hold that was not closed", "holds", hold, row{"status": "voided"}, check},
			{"hold in no known state", "holds", hold, row{"status": "lost", "closed_at": now}, check},
			{"hold on one account", "holds", hold, row{"credit_account_id": w.cash.ID}, check},
			{"hold in another currency", "holds", hold, row{"currency": "USD"}, foreign},
			{"hold on no account", "holds", hold, row{"debit_account_id": uuid.New()}, foreign},

			{"release with the id of another", "hold_releases", release, row{"id": ledger.IDOfKey(void.Key)}, unique},
			{"second release", "hold_releases", release, row{"hold_id": voided.ID}, unique},
			{"release of no hold", "hold_releases", release, row{"hold_id": uuid.New()}, foreign},
			{"release of nothing", "hold_releases", release, row{"amount": int64(0)}, check},

			{"account with the id of another", "accounts", account, row{"id": w.cash.ID}, unique},
			{"account with the code of another", "accounts", account, row{"code": "cash"}, unique},
			{"account without a code", "accounts", account, row{"code": ""}, check},
			{"account on a third side", "accounts", account, row{"side": "both"}, check},
			{"account in euros spelt out", "accounts", account, row{"currency": "EURO"}, check},
			{"account in no known state", "accounts", account, row{"status": "frozen"}, check},
			{"account without shards", "accounts", account, row{"shards": int64(0)}, check},
			{"account with too many shards", "accounts", account, row{"shards": int64(65)}, check},
			{"account with shards and a bound", "accounts", account, row{"shards": int64(2), "min_balance": int64(0)}, check},

			{"balance of no account", "balances", balance, row{"account_id": uuid.New()}, foreign},
			{"balance in another currency", "balances", balance, row{"currency": "USD"}, foreign},
			{"balance row that is there", "balances", balance, row{"shard": int64(0)}, unique},
			{"balance row 64", "balances", balance, row{"shard": int64(64)}, check},
			{"balance on a third side", "balances", balance, row{"side": "both"}, check},
		} {
			if err := w.insert(c.table, c.values, c.changes); sqldb.ClassOf(err) != c.want {
				t.Errorf("%s: got class %d (%v), want %d", c.name, sqldb.ClassOf(err), err, c.want)
			}
		}

		marie, bank := "UPDATE balances SET %s WHERE account_id = "+w.lit(w.marie.ID), "UPDATE balances SET %s WHERE account_id = "+w.lit(w.bank.ID)
		for _, c := range []struct {
			name, statement, set string
			want                 sqldb.Class
		}{
			{"overdraft", marie, "debits_posted = debits_posted + 901", check}, // 100 are held
			{"overdraft by a hold", marie, "debits_pending = debits_pending + 901", check},
			{"above the ceiling", marie, "credits_posted = credits_posted + 249001", check},
			{"above the ceiling by a hold", marie, "credits_pending = 249001", check},
			{"negative hold", marie, "debits_pending = -1", check},
			{"negative expectation", marie, "credits_pending = -1", check},
			{"negative debits", bank, "debits_posted = -1", check},
			{"negative credits", bank, "credits_posted = -1", check},
			{"currency of a balance", bank, "currency = 'USD'", foreign},
			{"overflow", "UPDATE balances SET %s WHERE account_id = " + w.lit(dollars.ID), "debits_posted = debits_posted + 1", sqldb.ClassOutOfRange},
			{"currency of an account in use", "UPDATE accounts SET %s WHERE id = " + w.lit(w.cash.ID), "currency = 'USD'", foreign},
		} {
			statement := strings.Replace(c.statement, "%s", c.set, 1)
			if err := w.exec(statement); sqldb.ClassOf(err) != c.want {
				t.Errorf("%s: got class %d (%v), want %d", c.name, sqldb.ClassOf(err), err, c.want)
			}
		}
		// What is just allowed is allowed: the bounds themselves are tight.
		for _, set := range []string{
			"debits_posted = debits_posted + 900", "debits_posted = debits_posted - 900",
			"credits_posted = credits_posted + 249000", "credits_posted = credits_posted - 249000",
		} {
			w.mustExec(strings.Replace(marie, "%s", set, 1))
		}
		w.mustExec("UPDATE balances SET debits_posted = 0 WHERE account_id = " + w.lit(dollars.ID))
		w.verify() // nothing of it was stored
	})
}

// On SQLite, triggers keep what was posted; on the servers, grants do.
func TestSQLiteNeverChangesWhatWasPosted(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	w.mustPost(w.transfer(w.cash, w.marie, 1000))
	held := w.mustHold(w.holdOf(w.marie, w.yoann, 1))
	if _, err := w.VoidHold(w.ctx, ledger.VoidHoldRequest{Key: w.key(), HoldID: held.ID}); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"transactions", "postings", "hold_releases"} {
		for _, statement := range []string{"UPDATE " + table + " SET recorded_at = recorded_at", "DELETE FROM " + table} {
			if err := w.exec(statement); sqldb.ClassOf(err) != sqldb.ClassCheck || !strings.Contains(err.Error(), "never changed or deleted") {
				t.Errorf("%s: got %v", statement, err)
			}
		}
	}
	if err := w.exec("DELETE FROM accounts"); sqldb.ClassOf(err) != sqldb.ClassForeignKey {
		t.Errorf("accounts in use were deleted: %v", err)
	}
	w.verify()
}
