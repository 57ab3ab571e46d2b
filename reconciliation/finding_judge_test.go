package reconciliation

import (
	"strings"
	"testing"

	"tweetledger/internal/payouts"
	"tweetledger/ledger"
)

// Each source has its job, and two findings about one file are two breaks.
func TestBreakOfFindings(t *testing.T) {
	keys := map[string]bool{}
	for _, c := range []struct {
		source payouts.FindingSource
		kind   payouts.FindingKind
		hash   byte
		job    Job
		class  Class
	}{
		{payouts.SourceStatement, payouts.OtherContent, 1, JobPayouts, OtherContent},
		{payouts.SourceNotification, payouts.OtherContent, 1, JobPayouts, OtherContent},
		{payouts.SourceSettlement, payouts.OtherContent, 1, JobCards, OtherContent},
		{payouts.SourceSettlement, payouts.OtherContent, 2, JobCards, OtherContent},
		{payouts.SourceReport, payouts.OtherContent, 1, JobPayouts, OtherContent},
		{payouts.SourceReport, payouts.Contradiction, 1, JobPayouts, Contradiction},
		{payouts.SourceReport, payouts.StatusRefused, 1, JobPayouts, Contradiction},
	} {
		f := payouts.StoredFinding{Source: c.source, Account: "a", ContentHash: [32]byte{c.hash}, Finding: payouts.Finding{Kind: c.kind, Statement: "M-1", Amount: -5, Message: "it is wrong"}}
		b := breakOf(f, ledger.EUR)
		if jobOf(f.Source) != c.job || !strings.HasPrefix(b.Key, string(c.job)+"/") || b.Class != c.class || b.Amount != 5 || !strings.HasPrefix(b.Message, "it is wrong; ") ||
			!strings.HasPrefix(b.Reference, string(c.source)+" M-1 (0") || keys[b.Key] {
			t.Errorf("%s of a %s is %+v", c.kind, c.source, b)
		}
		keys[b.Key] = true
	}
}
