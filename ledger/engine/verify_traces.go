package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"time"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// readPeriods checks that each period is in the state that its trace led to, so
// that none was opened for a while behind everybody's back, and then what closed
// fiscal years left to the next ones.
func (v *verifier) readPeriods(ctx context.Context) error {
	periods, err := sqldb.Collect(ctx, v.tx, "SELECT "+periodColumns+" FROM periods ORDER BY starts_on", nil, scanPeriod)
	if err != nil {
		return err
	}
	reached := make(map[string]ledger.PeriodStatus, len(periods))
	steps := map[string]int64{}
	err = v.tx.Each(ctx, "SELECT period_id, ordinal, from_status, to_status FROM period_changes ORDER BY period_id, ordinal", nil, func(rows *sqldb.Rows) error {
		var id string
		var ordinal int64
		var from, to ledger.PeriodStatus
		if err := rows.Scan(&id, &ordinal, &from, &to); err != nil {
			return err
		}
		before, ok := reached[id]
		if !ok {
			before = ledger.PeriodOpen
		}
		if steps[id]++; ordinal != steps[id] || from != before {
			v.report.add("period "+id, "trace", fmt.Sprintf("change %d, from %s", steps[id], before), fmt.Sprintf("change %d, from %s", ordinal, from))
			steps[id] = ordinal
		}
		reached[id] = to
		return nil
	})
	if err != nil {
		return err
	}
	for _, p := range periods {
		want := reached[p.ID]
		if want == "" {
			want = ledger.PeriodOpen
		}
		if p.Status != want {
			v.report.add("period "+p.ID, "state", fmt.Sprintf("%s, as its trace says", want), p.Status)
		}
		if is := ledger.PeriodOf(p.From, v.engine.starts); is.ID != p.ID || is.From != p.From || is.To != p.To {
			v.report.add("period "+p.ID, "first and last day", "those of its month", fmt.Sprintf("%s and %s", p.From, p.To))
		} else if is.FiscalYear != p.FiscalYear {
			v.report.add("period "+p.ID, "fiscal year", is.FiscalYear, p.FiscalYear)
		}
		delete(reached, p.ID)
	}
	for _, id := range slices.Sorted(maps.Keys(reached)) {
		v.report.add("period "+id, "state", fmt.Sprintf("%s, as its trace says", reached[id]), "none: the period was taken out")
	}
	return v.readOpenings(ctx, periods)
}

// readOpenings compares what closed years left as opening balances with what the
// postings up to their ends come to: by the roll-ups, which are all that there is
// of a closed year. Accounts of income and expense were brought to zero.
func (v *verifier) readOpenings(ctx context.Context, periods []ledger.Period) error {
	closed := []int64{}
	for _, p := range periods {
		if p.Status != ledger.PeriodHardClosed || ledger.FiscalYearOf(p.To.AddDays(1), v.engine.starts).Year == p.FiscalYear {
			continue
		}
		closed = append(closed, int64(p.FiscalYear+1))
		err := v.tx.Each(ctx, fmt.Sprintf(`SELECT no, CAST(SUM(came) AS %[1]s), CAST(SUM(stored) AS %[1]s) FROM (
				SELECT account_no AS no, debits - credits AS came, 0 AS stored FROM account_days WHERE effective_date <= $1
				UNION ALL SELECT account_no, 0, amount FROM opening_balances WHERE fiscal_year = $2
			) AS both_sides GROUP BY no HAVING SUM(came) <> SUM(stored) ORDER BY no LIMIT %[2]d`, v.tx.Int8(), maxDifferences),
			[]any{p.To, int64(p.FiscalYear + 1)}, func(rows *sqldb.Rows) error {
				var no int64
				var came, stored ledger.Amount
				if err := rows.Scan(&no, &came, &stored); err != nil {
					return err
				}
				subject, currency := v.named(no)
				v.report.add(subject, fmt.Sprintf("opening balance of %d (debits less credits)", p.FiscalYear+1), came.Format(currency), stored.Format(currency))
				return nil
			})
		if err != nil {
			return err
		}
	}
	return v.tx.Each(ctx, "SELECT fiscal_year, COUNT(*) FROM opening_balances GROUP BY fiscal_year ORDER BY fiscal_year", nil, func(rows *sqldb.Rows) error {
		var year, count int64
		err := rows.Scan(&year, &count)
		if !slices.Contains(closed, year) {
			v.report.add(fmt.Sprintf("fiscal year %d", year), "number of opening balances", "0, as the year before is not closed", count)
		}
		return err
	})
}

// named returns how an account is called, by its number, and its currency.
func (v *verifier) named(no int64) (string, ledger.Currency) {
	if a, ok := v.accounts[no]; ok {
		return "account " + a.account.Code, a.account.Currency
	}
	return fmt.Sprintf("account number %d", no), ""
}

// readAccountTraces checks that each account is open or closed as its trace says.
func (v *verifier) readAccountTraces(ctx context.Context) error {
	return v.tx.Each(ctx, fmt.Sprintf(`SELECT a.code, a.status, COALESCE(c.to_status, 'open') FROM accounts AS a
		LEFT JOIN account_changes AS c ON c.account_id = a.id
			AND c.ordinal = (SELECT MAX(l.ordinal) FROM account_changes AS l WHERE l.account_id = a.id)
		WHERE a.status <> COALESCE(c.to_status, 'open') ORDER BY a.code LIMIT %d`, maxDifferences), nil, func(rows *sqldb.Rows) error {
		var code, status, want string
		err := rows.Scan(&code, &status, &want)
		v.report.add("account "+code, "state", want+", as its trace says", status)
		return err
	})
}

// Bounds of what is read at once of signed heads.
const (
	documentsAtOnce = 100  // of a few kB each
	headsAtOnce     = 1000 // looked up in the chains
)

var signedColumns = []sqldb.Column{{Name: "journal", Type: "text"}, {Name: "fiscal_year", Type: "int8"}, {Name: "number", Type: "int8"}, {Name: "link", Type: "bytea"}}

// readSignedHeads checks the documents that the book has signed: that each is as
// it was signed, and that the chains still lead through it. It proves nothing
// against who can take documents away; heads that are kept outside do.
func (v *verifier) readSignedHeads(ctx context.Context) error {
	last := map[chain]ledger.Head{} // of each chain: most documents repeat most heads
	var next sqldb.Where
	for {
		var moved []ledger.Head
		count := 0
		err := v.tx.Each(ctx, fmt.Sprintf("SELECT digest, signed_at, document FROM signed_heads%s ORDER BY signed_at, digest LIMIT %d", next.Clause(), documentsAtOnce),
			next.Args, func(rows *sqldb.Rows) error {
				var digest []byte
				var at time.Time
				var document string
				if err := rows.Scan(&digest, &at, &document); err != nil {
					return err
				}
				count++
				next = sqldb.Where{}
				next.And("signed_at >= ?", at) // lets an index start there
				next.And("(signed_at > ? OR digest > ?)", at, digest)
				signed, err := ledger.ParseSignedHeads([]byte(document))
				if err == nil {
					err = signed.Verify(nil)
				}
				if is := signed.Digest(); err != nil || !bytes.Equal(is[:], digest) || !at.Equal(signed.At) {
					v.report.add(fmt.Sprintf("signed heads %x", digest), "document", "as it was signed", "changed since")
					return nil
				}
				for _, h := range signed.List {
					if c := (chain{h.Journal, h.FiscalYear}); last[c] != h {
						last[c] = h
						moved = append(moved, h)
					}
				}
				return nil
			})
		if err != nil {
			return err
		}
		for part := range slices.Chunk(moved, headsAtOnce) {
			if err := v.compareSigned(ctx, part); err != nil {
				return err
			}
		}
		if count == 0 {
			return nil
		}
	}
}

// compareSigned compares signed heads with the links of the chains, which were
// recomputed. What was signed was the end of a run of numbers.
func (v *verifier) compareSigned(ctx context.Context, heads []ledger.Head) error {
	return v.tx.EachOfRows(ctx, `SELECT d.journal, d.fiscal_year, d.number, d.link, (SELECT s.link FROM seals AS s WHERE s.journal = d.journal
			AND s.fiscal_year = d.fiscal_year AND s.first_number <= d.number AND s.last_number = d.number ORDER BY s.first_number DESC LIMIT 1) FROM ROWS AS d`,
		signedColumns, len(heads), func(i int) []any {
			h := heads[i]
			return []any{h.Journal, int64(h.FiscalYear), h.Number, h.Link}
		}, func(rows *sqldb.Rows) error {
			var c chain
			var n int64
			var want, link []byte
			if err := rows.Scan(&c.journal, &c.fiscalYear, &n, &want, &link); err != nil {
				return err
			}
			switch {
			case len(link) != sha256.Size:
				v.report.add(c.entry(n), "seal", "there, as it was signed", "missing")
			case !bytes.Equal(link, want):
				v.report.add(c.entry(n), "link of the chain", fmt.Sprintf("%x, as it was signed", want), fmt.Sprintf("%x", link))
			}
			return nil
		})
}
