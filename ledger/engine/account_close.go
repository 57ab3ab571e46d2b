package engine

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// AccountChange is a step in the life of an account, kept for ever.
type AccountChange struct {
	AccountID uuid.UUID
	To        ledger.AccountStatus
	By        string
	Reason    string
	At        time.Time // UTC
}

// CloseAccount closes an account, so that nothing is posted to it or held on it any
// more, whoever tries: the database refuses it too. It must stand at zero with
// nothing pending, else the error has CodeConflict; so it has where the account is
// closed already. by and reason stand in its trace.
func (e *Engine) CloseAccount(ctx context.Context, id uuid.UUID, by, reason string) (ledger.Account, error) {
	return e.changeAccount(ctx, AccountChange{AccountID: id, To: ledger.AccountClosed, By: by, Reason: reason, At: e.Now()})
}

// ReopenAccount opens a closed account again. Errors are as for CloseAccount.
func (e *Engine) ReopenAccount(ctx context.Context, id uuid.UUID, by, reason string) (ledger.Account, error) {
	return e.changeAccount(ctx, AccountChange{AccountID: id, To: ledger.AccountOpen, By: by, Reason: reason, At: e.Now()})
}

// CloseAccountTx is CloseAccount inside the caller's transaction.
func (e *Engine) CloseAccountTx(ctx context.Context, tx *sqldb.Tx, id uuid.UUID, by, reason string) (ledger.Account, error) {
	return changeAccountTx(ctx, tx, AccountChange{AccountID: id, To: ledger.AccountClosed, By: by, Reason: reason, At: e.Now()})
}

// ReopenAccountTx is ReopenAccount inside the caller's transaction.
func (e *Engine) ReopenAccountTx(ctx context.Context, tx *sqldb.Tx, id uuid.UUID, by, reason string) (ledger.Account, error) {
	return changeAccountTx(ctx, tx, AccountChange{AccountID: id, To: ledger.AccountOpen, By: by, Reason: reason, At: e.Now()})
}

func (e *Engine) changeAccount(ctx context.Context, c AccountChange) (ledger.Account, error) {
	var a ledger.Account
	err := e.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) (err error) {
		a, err = changeAccountTx(ctx, tx, c)
		return err
	})
	return a, asLedgerError(err)
}

func changeAccountTx(ctx context.Context, tx *sqldb.Tx, c AccountChange) (ledger.Account, error) {
	for _, text := range []struct {
		field, text string
		most        int
	}{{"by", c.By, ledger.MaxActor}, {"reason", c.Reason, ledger.MaxReason}} {
		if !ledger.Printable(text.text, text.most) || strings.TrimSpace(text.text) == "" {
			return ledger.Account{}, ledger.Errorf(ledger.CodeInvalid, "the trace needs it, in 1 to %d bytes of printable text", text.most).InField(text.field)
		}
	}
	a, err := FindAccount(ctx, tx, c.AccountID)
	if err != nil {
		return ledger.Account{}, err
	}
	changes, err := AccountChanges(ctx, tx, c.AccountID)
	if err != nil {
		return ledger.Account{}, err
	}
	if a.Status == c.To {
		n := len(changes)
		switch {
		case n > 0 && changes[n-1] == c:
			return a, nil // its commit was in doubt, and had happened
		case n > 0:
			return ledger.Account{}, ledger.Errorf(ledger.CodeConflict, "account %s is %s already: %s did it at %s (%s)", a.Code, a.Status,
				changes[n-1].By, changes[n-1].At.Format(time.RFC3339), changes[n-1].Reason).InField("account")
		}
		return ledger.Account{}, ledger.Errorf(ledger.CodeConflict, "account %s is %s; nobody ever closed it", a.Code, a.Status).InField("account")
	}
	no, err := accountNo(ctx, tx, a.ID)
	if err != nil {
		return ledger.Account{}, err
	}
	if c.To == ledger.AccountClosed {
		err = closeBalances(ctx, tx, a, no)
	} else {
		_, err = tx.Exec(ctx, "UPDATE balances SET closed_debits = NULL, closed_credits = NULL WHERE account_no = $1", no)
	}
	if err != nil {
		return ledger.Account{}, err
	}
	a.Status = c.To
	if _, err := tx.Exec(ctx, "UPDATE accounts SET status = $1 WHERE id = $2", string(a.Status), a.ID); err != nil {
		return ledger.Account{}, fmt.Errorf("change account %s: %w", a.Code, err)
	}
	_, err = tx.Exec(ctx, "INSERT INTO account_changes (account_id, ordinal, to_status, changed_by, reason, changed_at) VALUES ($1, $2, $3, $4, $5, $6)",
		c.AccountID, int64(len(changes)+1), string(c.To), c.By, c.Reason, c.At)
	if err != nil {
		return ledger.Account{}, fmt.Errorf("keep the change of account %s: %w", a.Code, takenSince(err))
	}
	return a, nil
}

// closeBalances fixes what stands on the account's rows, which come to zero. What
// one shard holds and another one released is settled.
func closeBalances(ctx context.Context, tx *sqldb.Tx, a ledger.Account, no int64) error {
	state := accountState{numberedAccount: numberedAccount{Account: a, no: no}}
	err := tx.Each(ctx, "SELECT "+balanceColumns+" FROM balances WHERE account_no = $1 ORDER BY account_no, shard"+tx.ForUpdate(), []any{no},
		func(rows *sqldb.Rows) error {
			row, err := scanBalance(rows)
			if err != nil {
				return err
			}
			return state.take(row)
		})
	if err != nil {
		return fmt.Errorf("lock the balance of account %s: %w", a.Code, err)
	}
	b := state.balance
	switch {
	case b.DebitsPending != 0 || b.CreditsPending != 0:
		return ledger.Errorf(ledger.CodeConflict, "account %s has holds pending (%s %s debit, %s %s credit); post or void them first", a.Code,
			b.DebitsPending.Format(a.Currency), a.Currency, b.CreditsPending.Format(a.Currency), a.Currency).InField("account")
	case b.Posted() != 0:
		return ledger.Errorf(ledger.CodeConflict, "account %s stands at %s %s; bring it to zero first", a.Code,
			b.Posted().Format(a.Currency), a.Currency).InField("account")
	}
	_, err = tx.Exec(ctx, `UPDATE balances SET closed_debits = debits_posted, closed_credits = credits_posted,
		debits_pending = 0, credits_pending = 0, version = version + 1 WHERE account_no = $1`, no)
	if err != nil {
		return fmt.Errorf("close the balance of account %s: %w", a.Code, err)
	}
	return nil
}

// AccountChanges returns how an account came to be open or closed, the first change
// first: at most MaxPage of them. It has none before it was closed once.
func AccountChanges(ctx context.Context, tx *sqldb.Tx, id uuid.UUID) ([]AccountChange, error) {
	list, err := sqldb.Collect(ctx, tx, fmt.Sprintf(`SELECT account_id, to_status, changed_by, reason, changed_at FROM account_changes
		WHERE account_id = $1 ORDER BY ordinal LIMIT %d`, MaxPage), []any{id}, func(rows *sqldb.Rows) (AccountChange, error) {
		var c AccountChange
		err := rows.Scan(&c.AccountID, &c.To, &c.By, &c.Reason, &c.At)
		return c, err
	})
	if err != nil {
		return nil, fmt.Errorf("read the changes of account %s: %w", id, err)
	}
	return list, nil
}
