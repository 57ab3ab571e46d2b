package payouts

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// known reports whether an end-to-end id says anything: ISO 20022 wants one also where
// the payer gave none.
func known(endToEndID string) bool { return endToEndID != "" && endToEndID != "NOTPROVIDED" }

// batchParts are the movements that a batch booking consists of. They are read in
// pages: a batch may have as many as a file.
type batchParts func(ctx context.Context) iter.Seq2[Detail, error]

// takeApart finds out what the entries consist of for which the bank gives a sum and
// no more: by a notification that announced the same amount under the same reference
// of the bank or the same message id, else by our own payment file.
func (s *Service) takeApart(ctx context.Context, head Head, rows []loadedRow) (map[int]batchParts, error) {
	apart := map[int]batchParts{}
	if head.Kind != KindStatement {
		return apart, nil
	}
	sums := slices.DeleteFunc(slices.Clone(rows), func(r loadedRow) bool {
		return !r.single || known(r.EndToEndID) || (r.Reference == "" && r.MessageID == "")
	})
	for page := range slices.Chunk(sums, loadRows) {
		err := s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			announced, err := announcedEntries(ctx, tx, head.IBAN, page)
			if err != nil {
				return err
			}
			sent, err := sentBatches(ctx, tx, page)
			if err != nil {
				return err
			}
			for _, r := range page {
				if place, ok := announced[sumOf{r.Reference, r.Amount}]; ok && r.Reference != "" {
					apart[r.Entry] = s.partsOfNotification(place)
				} else if place, ok := announced[sumOf{r.MessageID, r.Amount}]; ok && r.MessageID != "" {
					apart[r.Entry] = s.partsOfNotification(place)
				} else if batch, ok := sent[sumOf{r.MessageID, r.Amount}]; ok {
					apart[r.Entry] = s.partsOfBatch(batch)
				}
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("take batch bookings of %s %s apart: %w", head.Kind, head.ID, err)
		}
	}
	return apart, nil
}

// sumOf is what a batch is known by: a reference or message id, and its amount.
type sumOf struct {
	reference string
	amount    ledger.Amount
}

// announcedEntry is an entry of a notification.
type announcedEntry struct {
	message uuid.UUID
	entry   int64
}

// announcedEntries returns the entries of notifications that have the references and
// amounts of rows: the first one, where several do.
func announcedEntries(ctx context.Context, tx *sqldb.Tx, iban string, rows []loadedRow) (map[sumOf]announcedEntry, error) {
	found := map[sumOf]announcedEntry{}
	for _, by := range []struct {
		column string
		value  func(loadedRow) string
	}{
		{"message_id", func(r loadedRow) string { return r.MessageID }},
		{"reference", func(r loadedRow) string { return r.Reference }}, // the bank's own is the better one, so it comes last
	} {
		values := make([]string, len(rows))
		for i, r := range rows {
			values[i] = by.value(r)
		}
		query := fmt.Sprintf(`SELECT r.%[1]s, r.entry_amount, r.bank_message_id, r.entry FROM bank_message_rows AS r
			JOIN bank_messages AS m ON m.id = r.bank_message_id
			WHERE r.announced = 1 AND r.%[1]s <> '' AND %[2]s AND m.state = 'complete' AND m.iban = $2
			GROUP BY r.%[1]s, r.entry_amount, r.bank_message_id, r.entry
			ORDER BY r.bank_message_id DESC, r.entry DESC`, by.column, tx.AnyText("r."+by.column, 1))
		err := tx.Each(ctx, query, []any{sortedUnique(values), iban}, func(rows *sqldb.Rows) error {
			var sum sumOf
			var place announcedEntry
			err := rows.Scan(&sum.reference, &sum.amount, &place.message, &place.entry)
			found[sum] = place
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("look for notifications: %w", err)
		}
	}
	return found, nil
}

// partsOfNotification are the details of an entry that a notification announced.
func (s *Service) partsOfNotification(place announcedEntry) batchParts {
	query := fmt.Sprintf(`SELECT detail, end_to_end_id, message_id, amount, counterparty_name, counterparty_iban, counterparty_bic, remittance, return_reason
		FROM bank_message_rows WHERE bank_message_id = $1 AND pass IN (0, 1) AND entry = $2 AND detail > $3 ORDER BY detail LIMIT %d`, loadRows)
	return s.paged(query, place.message, place.entry)
}

// sentBatches returns the batches of payouts that the bank has and has not booked
// yet, by message id and amount, which is below zero as it leaves the account. What the
// bank has rejected is not in it.
func sentBatches(ctx context.Context, tx *sqldb.Tx, rows []loadedRow) (map[sumOf]uuid.UUID, error) {
	values := make([]string, len(rows))
	for i, r := range rows {
		values[i] = r.MessageID
	}
	found := map[sumOf]uuid.UUID{}
	err := tx.Each(ctx, fmt.Sprintf(`SELECT b.message_id, CAST(SUM(p.net) AS %s), b.id FROM payout_batches AS b JOIN payouts AS p ON p.batch_id = b.id
		WHERE b.state = 'exported' AND p.state <> 'rejected' AND %s GROUP BY b.id, b.message_id`, tx.Int8(), tx.AnyText("b.message_id", 1)),
		[]any{sortedUnique(values)}, func(rows *sqldb.Rows) error {
			var sum sumOf
			var id uuid.UUID
			err := rows.Scan(&sum.reference, &sum.amount, &id)
			sum.amount = -sum.amount
			found[sum] = id
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("look for payment files: %w", err)
	}
	return found, nil
}

// partsOfBatch are the payouts of a batch.
func (s *Service) partsOfBatch(id uuid.UUID) batchParts {
	query := fmt.Sprintf(`SELECT p.ordinal, p.end_to_end_id, b.message_id, -p.net, p.creditor_name, p.creditor_iban, p.creditor_bic, p.remittance, ''
		FROM payouts AS p JOIN payout_batches AS b ON b.id = p.batch_id
		WHERE p.batch_id = $1 AND b.state <> $2 AND p.state <> 'rejected' AND p.ordinal > $3 ORDER BY p.ordinal LIMIT %d`, loadRows)
	return s.paged(query, id, string(BatchCancelled))
}

// paged reads movements by a query that returns their ordinals first, and takes as
// its last argument the one to go on after.
func (s *Service) paged(query string, args ...any) batchParts {
	return func(ctx context.Context) iter.Seq2[Detail, error] {
		return func(yield func(Detail, error) bool) {
			last := int64(0)
			for {
				var page []Detail
				var next int64
				err := s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
					var err error
					page, err = sqldb.Collect(ctx, tx, query, append(slices.Clone(args), last), func(rows *sqldb.Rows) (Detail, error) {
						var d Detail
						err := rows.Scan(&next, &d.EndToEndID, &d.MessageID, &d.Amount, &d.Counterparty.Name, &d.Counterparty.IBAN, &d.Counterparty.BIC,
							&d.Remittance, &d.ReturnReason)
						return d, err
					})
					return err
				})
				if err != nil {
					yield(Detail{}, fmt.Errorf("read the parts of a batch booking: %w", err))
					return
				}
				for _, d := range page {
					if !yield(d, nil) {
						return
					}
				}
				if len(page) < loadRows {
					return
				}
				last = next
			}
		}
	}
}

// announcedReturns returns why money comes back, as notifications said it, by
// end-to-end id and amount.
func announcedReturns(ctx context.Context, tx *sqldb.Tx, iban string, entries []StoredEntry) (map[sumOf]string, error) {
	var ids []string
	for _, e := range entries {
		if e.Amount > 0 && e.ReturnReason == "" && known(e.EndToEndID) {
			ids = append(ids, e.EndToEndID)
		}
	}
	reasons := map[sumOf]string{}
	if len(ids) == 0 {
		return reasons, nil
	}
	err := tx.Each(ctx, `SELECT r.end_to_end_id, r.amount, MIN(r.return_reason) FROM bank_message_rows AS r JOIN bank_messages AS m ON m.id = r.bank_message_id
		WHERE r.announced = 1 AND r.return_reason <> '' AND `+tx.AnyText("r.end_to_end_id", 1)+` AND m.state = 'complete' AND m.iban = $2
		GROUP BY r.end_to_end_id, r.amount`, []any{sortedUnique(ids), iban}, func(rows *sqldb.Rows) error {
		var sum sumOf
		var reason string
		err := rows.Scan(&sum.reference, &sum.amount, &reason)
		reasons[sum] = reason
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for reasons of returns: %w", err)
	}
	return reasons, nil
}
