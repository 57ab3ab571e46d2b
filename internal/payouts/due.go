package payouts

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// stillDue makes sure that what was prepared is still so: the approver sees the
// state of now, not that of then. It asks for all payouts of the batch at once.
func stillDue(ctx context.Context, tx *sqldb.Tx, b Batch, list []Payout) error {
	gathered, err := gatheredOf(ctx, tx, b)
	if err != nil {
		return err
	}
	available, err := availableTo(ctx, tx, b)
	if err != nil {
		return err
	}
	for _, p := range list {
		got := gathered[p.ID]
		if got.donations != p.Donations || got.total != p.Gross {
			return fmt.Errorf("payout %s should have %d donations of %d and has %d of %d", p.EndToEndID, p.Donations, p.Gross, got.donations, got.total)
		}
		switch left := available[p.AccountID]; {
		case got.reversed > 0:
			return changed(p, "%d donations to %s were reversed since the batch was prepared", got.reversed, p.PayeeCode)
		case left < p.Gross:
			return changed(p, "the account of %s has only %s %s left", p.PayeeCode, left.Format(p.Currency), p.Currency)
		}
	}
	return samePayees(ctx, tx, list, "prepared")
}

// changed is the refusal of a batch that has one payout which is not what it was.
func changed(p Payout, format string, args ...any) error {
	return ledger.Errorf(ledger.CodeConflict, format+"; cancel batch %s and prepare a new one", append(args, p.Batch)...).InField("payout." + p.EndToEndID)
}

// samePayees makes sure that everybody may still be paid out, to the account that the
// payouts name; since says what was done with the batch before.
func samePayees(ctx context.Context, tx *sqldb.Tx, list []Payout, since string) error {
	ids := make([]uuid.UUID, len(list))
	for i, p := range list {
		ids[i] = p.PayeeID
	}
	payees, err := payments.FindPayeesByID(ctx, tx, ids)
	if err != nil {
		return err
	}
	ibans := make([]string, len(list))
	for i, p := range list {
		ibans[i] = p.Creditor.IBAN
	}
	flags, err := openFlags(ctx, tx, ibans)
	if err != nil {
		return err
	}
	for _, p := range list {
		switch payee := payees[p.PayeeID]; {
		case payee.Status != payments.Open:
			return changed(p, "%s is %s since the batch was %s", p.PayeeCode, payee.Status, since)
		case payee.IBAN != p.Creditor.IBAN || payee.BIC != p.Creditor.BIC:
			return changed(p, "%s has another IBAN or BIC since the batch was %s", p.PayeeCode, since)
		}
		if flag, ok := flags[p.Creditor.IBAN]; ok {
			return ledger.Errorf(ledger.CodeConflict, "%s", flag.refuse(p.PayeeCode)).InField("payout." + p.EndToEndID)
		}
	}
	return nil
}

// gathered is what the donations of a payout come to.
type gathered struct {
	donations, reversed int
	total               ledger.Amount
}

func gatheredOf(ctx context.Context, tx *sqldb.Tx, b Batch) (map[uuid.UUID]gathered, error) {
	all := make(map[uuid.UUID]gathered, b.Payouts)
	err := tx.Each(ctx, fmt.Sprintf(`SELECT i.payout_id, COUNT(*), CAST(SUM(i.amount) AS %s), COUNT(r.transaction_id)
		FROM payouts AS p JOIN payout_items AS i ON i.payout_id = p.id JOIN requests AS q ON q.id = i.transaction_id
		LEFT JOIN postings AS r ON r.reverses_page_id = q.page_id AND r.reverses_line = q.line + i.posting
		WHERE p.batch_id = $1 AND i.live = 1 GROUP BY i.payout_id`, tx.Int8()), []any{b.ID}, func(rows *sqldb.Rows) error {
		var id uuid.UUID
		var g gathered
		err := rows.Scan(&id, &g.donations, &g.total, &g.reversed)
		all[id] = g
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the donations of batch %s: %w", b.Reference, err)
	}
	return all, nil
}

// availableTo returns what may leave the payable accounts of a batch's payees.
func availableTo(ctx context.Context, tx *sqldb.Tx, b Batch) (map[uuid.UUID]ledger.Amount, error) {
	all := make(map[uuid.UUID]ledger.Amount, b.Payouts)
	// The shards of one account come to its balance; each is far below what a sum of 64 bits holds.
	err := tx.Each(ctx, fmt.Sprintf(`SELECT a.id, CAST(SUM(n.credits_posted - n.debits_posted - n.debits_pending) AS %s)
		FROM payouts AS p JOIN accounts AS a ON a.id = p.account_id JOIN balances AS n ON n.account_no = a.no
		WHERE p.batch_id = $1 GROUP BY a.id`, tx.Int8()), []any{b.ID}, func(rows *sqldb.Rows) error {
		var id uuid.UUID
		var available ledger.Amount
		err := rows.Scan(&id, &available)
		all[id] = available
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the balances of batch %s: %w", b.Reference, err)
	}
	return all, nil
}
