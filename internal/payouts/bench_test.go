package payouts_test

import (
	"fmt"
	"testing"

	"tweetledger/internal/sqldb/sqltest"
)

// BenchmarkApprove approves a batch of 300 payouts on each engine.
func BenchmarkApprove(b *testing.B) {
	const payees = 300
	for _, engine := range sqltest.Engines(b) {
		b.Run(string(engine), func(b *testing.B) {
			w := newWorld(b, sqltest.New(b, engine))
			for i := range payees {
				code := fmt.Sprintf("p%03d", i)
				w.enrol(code, acfIBAN, 150, 0)
				w.donate(code, 10_00)
			}
			for b.Loop() {
				b.StopTimer()
				r := w.prepare()
				b.StartTimer()
				_, err := w.service.Approve(b.Context(), r.Batch.Reference, "bob")
				w.must(err)
				b.StopTimer()
				_, err = w.service.Cancel(b.Context(), r.Batch.Reference, "bob")
				w.must(err)
				b.StartTimer()
			}
		})
	}
}
