package payouts

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// maxLinesOfCharges bounds the lines of the charges that are asked for at once. A
// charge has a handful; whoever has more repeats them.
const maxLinesOfCharges = 100_000

// LinesOfCharges returns the lines of files that were read to their end and that name
// one of the charges, by our reference or by the acquirer's own: charges, refunds and
// chargebacks, each once, in no particular order. Too many are CodeLimitExceeded.
func LinesOfCharges(ctx context.Context, tx *sqldb.Tx, charges []string) ([]StoredSettlementLine, error) {
	type place struct {
		file uuid.UUID
		line int
	}
	seen := map[place]bool{}
	var found []StoredSettlementLine
	for _, column := range []string{"l.charge_reference", "l.reference"} {
		for page := range slices.Chunk(charges, MaxPage) {
			list, err := sqldb.Collect(ctx, tx, fmt.Sprintf(`SELECT %s FROM settlement_lines AS l JOIN settlement_files AS f ON f.id = l.file_id
				WHERE %s AND %s <> '' AND f.state = 'complete' AND l.kind NOT IN ('fee', 'payout') LIMIT %d`, settlementLineColumns, tx.AnyText(column, 1), column, maxLinesOfCharges+1),
				[]any{page}, scanSettlementLine)
			if err != nil {
				return nil, fmt.Errorf("settlement lines of %d charges: %w", len(charges), err)
			}
			for _, l := range list {
				if at := (place{l.FileID, l.Line}); !seen[at] {
					seen[at] = true
					found = append(found, l)
				}
			}
			if len(found) > maxLinesOfCharges {
				return nil, ledger.Errorf(ledger.CodeLimitExceeded, "more than %d settlement lines name %d charges; somebody repeats them", maxLinesOfCharges, len(charges))
			}
		}
	}
	return found, nil
}

// CardPayoutID names a transfer of an acquirer.
type CardPayoutID struct {
	Acquirer, PayoutReference string
	Currency                  ledger.Currency
}

// ID returns what names the transfer.
func (p CardPayout) ID() CardPayoutID { return CardPayoutID{p.Acquirer, p.PayoutReference, p.Currency} }

// NamedBy reports whether a movement names the transfer.
func (p CardPayout) NamedBy(e StoredEntry) bool { return names(e, p.PayoutReference) }

// LineTotal is what the lines of a transfer come to, as they are stored.
type LineTotal struct {
	Lines           int
	Gross, Fee, Net ledger.Amount
}

// TotalLines adds up the lines of transfers anew.
func TotalLines(ctx context.Context, tx *sqldb.Tx, list []CardPayout) (map[CardPayoutID]LineTotal, error) {
	references, files := make([]string, len(list)), make([]uuid.UUID, len(list))
	for i, p := range list {
		references[i], files[i] = p.PayoutReference, p.FileID
	}
	totals := map[CardPayoutID]LineTotal{}
	err := tx.Each(ctx, fmt.Sprintf(`SELECT f.acquirer, l.payout_reference, l.currency, COUNT(*), CAST(SUM(l.gross + %[1]s - l.fee) AS %[2]s), CAST(SUM(%[1]s) AS %[2]s), CAST(SUM(l.net) AS %[2]s)
		FROM settlement_lines AS l JOIN settlement_files AS f ON f.id = l.file_id
		WHERE %[3]s AND %[4]s AND l.kind <> 'payout' GROUP BY f.acquirer, l.payout_reference, l.currency`,
		"CASE WHEN l.kind = 'fee' THEN l.fee - l.gross ELSE l.fee END", tx.Int8(), tx.AnyUUID("l.file_id", 1), tx.AnyText("l.payout_reference", 2)),
		[]any{sortedIDs(files), references}, func(rows *sqldb.Rows) error {
			var id CardPayoutID
			var t LineTotal
			err := rows.Scan(&id.Acquirer, &id.PayoutReference, &id.Currency, &t.Lines, &t.Gross, &t.Fee, &t.Net)
			totals[id] = t
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("add up the lines of %d transfers: %w", len(list), err)
	}
	return totals, nil
}

// EntriesOfCardPayouts returns the movements on the bank account that booked transfers.
func EntriesOfCardPayouts(ctx context.Context, tx *sqldb.Tx, list []CardPayout) (map[CardPayoutID]StoredEntry, error) {
	var posted []uuid.UUID
	var statements []uuid.UUID
	for _, p := range list {
		if p.TransactionID != uuid.Nil {
			posted, statements = append(posted, p.TransactionID), append(statements, p.StatementID)
		}
	}
	if len(posted) == 0 {
		return nil, nil
	}
	entries, err := sqldb.Collect(ctx, tx, entrySelect+" WHERE "+tx.AnyUUID("e.statement_id", 1)+" AND "+tx.AnyUUID("e.transaction_id", 2),
		[]any{sortedIDs(statements), posted}, scanEntry)
	if err != nil {
		return nil, fmt.Errorf("bank entries of %d transfers: %w", len(posted), err)
	}
	by := make(map[uuid.UUID]StoredEntry, len(entries))
	for _, e := range entries {
		by[e.TransactionID] = e
	}
	found := make(map[CardPayoutID]StoredEntry, len(entries))
	for _, p := range list {
		if e, ok := by[p.TransactionID]; ok {
			found[p.ID()] = e
		}
	}
	return found, nil
}

// CardMovement says why a movement that nothing explains is an acquirer's.
type CardMovement struct {
	// Transfers are those that the movement names, the one that it comes to first, else
	// by acquirer and reference. There are some where Acquirer is empty.
	Transfers []CardPayout
	Acquirer  string // whose name the movement bears; empty where it names transfers
}

// minTelling is how long a payout reference must be for a movement of another amount
// to be about it where only a word of the text says so: "12" may be anything.
const minTelling = 6

// CardMovements returns which of the movements that nothing explains are acquirers', by
// their place in the list: they name a transfer of which a settlement file has told, or
// bear the name of an acquirer.
func CardMovements(ctx context.Context, tx *sqldb.Tx, acquirers []Acquirer, entries []StoredEntry) (map[int]CardMovement, error) {
	var named []string
	for _, e := range entries {
		if e.unexplained() {
			named = append(named, wordsOf(e)...)
		}
	}
	slices.Sort(named)
	transfers := map[string][]CardPayout{}
	for page := range slices.Chunk(slices.Compact(named), MaxPage) {
		list, err := sqldb.Collect(ctx, tx, "SELECT "+cardPayoutColumns+" FROM settlement_payouts WHERE "+tx.AnyText("payout_reference", 1)+
			" ORDER BY acquirer, payout_reference, currency", []any{page}, scanCardPayout)
		if err != nil {
			return nil, fmt.Errorf("look for the transfers that movements name: %w", err)
		}
		for _, p := range list {
			transfers[p.PayoutReference] = append(transfers[p.PayoutReference], p)
		}
	}
	found := map[int]CardMovement{}
	for i, e := range entries {
		if !e.unexplained() {
			continue
		}
		var m CardMovement
		for _, word := range wordsOf(e) {
			for _, p := range transfers[word] {
				telling := p.Net == e.Amount || len(p.PayoutReference) >= minTelling
				if telling && !slices.ContainsFunc(m.Transfers, func(other CardPayout) bool { return other.ID() == p.ID() }) {
					m.Transfers = append(m.Transfers, p)
				}
			}
		}
		slices.SortFunc(m.Transfers, func(a, b CardPayout) int { return compareNamed(a, b, e.Amount) })
		if len(m.Transfers) == 0 {
			at := slices.IndexFunc(acquirers, func(a Acquirer) bool { return a.namedBy(e) })
			if at < 0 {
				continue
			}
			m.Acquirer = acquirers[at].Name
		}
		found[i] = m
	}
	return found, nil
}

// unexplained reports whether nothing says what a movement in suspense is.
func (e StoredEntry) unexplained() bool {
	return e.Outcome == OutcomeSuspense && e.PayoutID == uuid.Nil && (e.Finding == UnknownIn || e.Finding == UnknownOut)
}

// compareNamed puts the transfer that comes to an amount before others.
func compareNamed(a, b CardPayout, amount ledger.Amount) int {
	other := func(p CardPayout) int {
		if p.Net == amount {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(other(a), other(b)), cmp.Compare(a.Acquirer, b.Acquirer), cmp.Compare(a.PayoutReference, b.PayoutReference), cmp.Compare(a.Currency, b.Currency))
}

// sortedIDs returns the ids, each once.
func sortedIDs(ids []uuid.UUID) []uuid.UUID {
	slices.SortFunc(ids, func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
	return slices.Compact(ids)
}
