package cardsim

import (
	"encoding/csv"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Fees of the simulated acquirer: so many thousandths of a charge and a fixed part, in
// minor units, rounded down. Refunds return none; a dispute costs.
const (
	feeThousandths = 14
	feeFixed       = 25
	disputeFee     = 20_00
)

// Line is a line of a settlement file, in minor units: net is gross less fee.
type Line struct {
	MerchantReference string // our key
	Reference         string // the payment's
	Kind              string // charge, refund, chargeback, chargeback_won
	Gross, Fee        int64
	Currency          string
}

// Settlement returns what is settled for a day (UTC), in the order of the payments.
func (s *Server) Settlement(day time.Time) []Line {
	s.mu.Lock()
	defer s.mu.Unlock()
	on := func(t time.Time) bool {
		return !t.IsZero() && t.UTC().Format(time.DateOnly) == day.UTC().Format(time.DateOnly)
	}
	var list []Line
	for _, p := range s.order {
		line := func(kind string, gross, fee int64) {
			list = append(list, Line{MerchantReference: p.key, Reference: p.id, Kind: kind, Gross: gross, Fee: fee, Currency: strings.ToUpper(p.currency)})
		}
		if on(p.succeededAt) {
			line("charge", p.received(), p.received()*feeThousandths/1000+feeFixed)
		}
		for _, r := range p.refunds {
			if on(r.at) && r.status == statusSucceeded {
				line("refund", -r.amount, 0)
			}
		}
		for _, d := range p.disputes {
			if on(d.at) {
				line("chargeback", -d.amount, disputeFee)
			}
			if on(d.wonAt) {
				line("chargeback_won", d.amount, -disputeFee)
			}
		}
	}
	return list
}

// WriteSettlement writes the settlement file of a day: CSV with a header, amounts in
// major units.
func (s *Server) WriteSettlement(w io.Writer, day time.Time) error {
	out := csv.NewWriter(w)
	rows := [][]string{{"merchant_reference", "reference", "kind", "gross", "fee", "net", "currency", "settlement_date", "batch_id"}}
	date := day.UTC().Format(time.DateOnly)
	for _, l := range s.Settlement(day) {
		rows = append(rows, []string{l.MerchantReference, l.Reference, l.Kind, major(l.Gross), major(l.Fee), major(l.Gross - l.Fee), l.Currency,
			date, "B" + strings.ReplaceAll(date, "-", "")})
	}
	if err := out.WriteAll(rows); err != nil {
		return fmt.Errorf("write the settlement file: %w", err)
	}
	return nil
}

// major writes minor units of a currency with two decimals.
func major(n int64) string {
	sign := ""
	if n < 0 {
		sign, n = "-", -n
	}
	return sign + strconv.FormatInt(n/100, 10) + fmt.Sprintf(".%02d", n%100)
}

// settlementFile answers GET /settlement/2026-11-23.csv.
func (s *Server) settlementFile(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+s.opts.SecretKey {
		http.Error(w, "unknown key", http.StatusUnauthorized)
		return
	}
	name, isCSV := strings.CutSuffix(r.PathValue("file"), ".csv")
	day, err := time.Parse(time.DateOnly, name)
	if err != nil || !isCSV {
		http.Error(w, "ask for a file such as 2026-11-23.csv", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	_ = s.WriteSettlement(w, day) // whoever hung up misses it
}
