package payouts

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// A customer's cash-out is paid out as donations are. Where the bank rejects one or sends it
// back, it is not tried again: the money goes back into the wallet.

// cameBack is a cash-out whose transfer came back, and that is not in the wallet yet.
type cameBack struct {
	transaction uuid.UUID
	payee       uuid.UUID
	amount      ledger.Amount
	endToEndID  string
	iban        string
	reason      string
}

const cameBackSelect = `SELECT i.transaction_id, p.payee_id, i.amount, p.end_to_end_id, p.creditor_iban,
		CASE WHEN p.state = 'rejected' THEN p.reject_reason ELSE p.return_reason END
	FROM payees AS y JOIN payouts AS p ON p.payee_id = y.id JOIN payout_items AS i ON i.payout_id = p.id
	WHERE y.kind = 'customer' AND p.state IN ('returned', 'rejected') AND i.live = 0
		AND NOT EXISTS (SELECT 1 FROM postings AS r WHERE r.reverses = i.transaction_id)`

func scanCameBack(rows *sqldb.Rows) (cameBack, error) {
	var c cameBack
	err := rows.Scan(&c.transaction, &c.payee, &c.amount, &c.endToEndID, &c.iban, &c.reason)
	return c, err
}

// ReturnCashOuts puts the money of cash-outs that the bank has rejected or sent back into
// the wallets that it came from, at most limit of them. What a wallet may not hold waits on
// the customer's account of cash-outs until it is done again: with each import of what the
// bank sends and each batch. Any number of processes may run it.
func (s *Service) ReturnCashOuts(ctx context.Context, limit int) (int, error) {
	if err := sqldb.CheckPage(limit, MaxPage); err != nil {
		return 0, err
	}
	var list []cameBack
	err := s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) (err error) {
		list, err = sqldb.Collect(ctx, tx, fmt.Sprintf("%s ORDER BY p.end_to_end_id, i.ordinal LIMIT %d", cameBackSelect, limit), nil, scanCameBack)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("look for cash-outs that came back: %w", err)
	}
	returned := 0
	var failures error
	for _, c := range list {
		err := s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error { return s.toWallet(ctx, tx, c) })
		switch code := ledger.CodeOf(err); {
		case err == nil:
			returned++
		case code == ledger.CodeLimitExceeded || code == ledger.CodeAccountClosed:
			s.log.WarnContext(ctx, "a cash-out that came back waits: the wallet may not have it", "payout", c.endToEndID, "err", err)
		default:
			failures = errors.Join(failures, fmt.Errorf("return cash-out %s: %w", c.endToEndID, err))
		}
	}
	return returned, failures
}

// returnAll is ReturnCashOuts after an import, which is done whatever becomes of that.
func (s *Service) returnAll(ctx context.Context) {
	if _, err := s.ReturnCashOuts(ctx, MaxPage); err != nil {
		s.log.ErrorContext(ctx, "cash-outs that came back are not all in their wallets; the next batch tries again", "err", err)
	}
}

// toWallet reverses a cash-out. Of two processes that do so at once, one changes nothing.
func (s *Service) toWallet(ctx context.Context, tx *sqldb.Tx, c cameBack) error {
	var done int64
	if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM postings WHERE reverses = $1", []any{c.transaction}, &done); err != nil || done > 0 {
		return err
	}
	payee, err := payments.FindPayeeByID(ctx, tx, c.payee)
	if err != nil {
		return err
	}
	_, err = s.engine.ReverseTx(ctx, tx, ledger.ReverseRequest{Key: "cash-out-back:" + c.transaction.String(), TransactionID: c.transaction, Label: "Cash-out returned",
		Metadata: map[string]string{"end_to_end_id": c.endToEndID, "reason": c.reason}})
	if err != nil {
		return err
	}
	return payments.CashOutCameBack(ctx, tx, payee, c.iban, c.reason, c.amount, s.config.Currency, s.engine.Now())
}

// notBackYet refuses to gather cash-outs of a customer while one that came back is not in
// the wallet: it must not go to the same bank account once more.
func notBackYet(ctx context.Context, tx *sqldb.Tx, payee payments.Payee) error {
	list, err := sqldb.Collect(ctx, tx, cameBackSelect+" AND y.id = $1 LIMIT 1", []any{payee.ID}, scanCameBack)
	if err != nil {
		return fmt.Errorf("look for cash-outs that came back: %w", err)
	}
	if len(list) > 0 {
		return ledger.Errorf(ledger.CodeConflict, "cash-out %s of %s came back and is not in the wallet yet, which may not hold it now", list[0].endToEndID, payee.Code).InField("payee." + payee.Code)
	}
	return nil
}
