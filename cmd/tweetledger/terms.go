package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

func tierFlags(c *cobra.Command, tiers *[]string, anchor *string) {
	c.Flags().StringArrayVar(tiers, "tier", nil, "another rate above an amount, like 1000.00:100 (may be repeated, rates falling)")
	c.Flags().StringVar(anchor, "anchor", "", "a day from which the rhythm counts, like 2026-11-06 for Fridays (default Mondays, the 1st of months)")
}

// parseTiers reads tiers like "1000.00:100": from an amount on so many hundredths of a
// percent. Empty ones are passed over.
func parseTiers(list []string, currency ledger.Currency) ([]payments.CommissionTier, error) {
	var tiers []payments.CommissionTier
	for _, text := range list {
		if text == "" {
			continue
		}
		amount, rate, found := strings.Cut(text, ":")
		points, err := strconv.Atoi(rate)
		if err != nil || !found {
			return nil, ledger.Errorf(ledger.CodeInvalid, "%q is not a tier; write it like 1000.00:100, which is 1 %% of what is above 1000.00", ledger.Clip(text)).InField("tier")
		}
		above, err := ledger.ParseAmount(amount, currency)
		if err != nil {
			return nil, fmt.Errorf("--tier: %w", err)
		}
		tiers = append(tiers, payments.CommissionTier{Above: above, Points: points})
	}
	return tiers, nil
}

// termsText writes terms for people: "1.50 %, 1.00 % above 1000.00, at least 0.25, VAT 20.00 %".
func termsText(t payments.Terms) string {
	parts := []string{percent(t.Points)}
	if tiers := tiersText(t.Tiers); tiers != "" {
		parts = append(parts, tiers)
	}
	if t.Minimum > 0 {
		parts = append(parts, "at least "+t.Minimum.Format(ledger.EUR))
	}
	if t.VATPoints > 0 {
		parts = append(parts, "VAT "+percent(t.VATPoints))
	}
	return strings.Join(parts, ", ")
}

func tiersText(tiers []payments.CommissionTier) string {
	parts := make([]string, len(tiers))
	for i, tier := range tiers {
		parts[i] = percent(tier.Points) + " above " + tier.Above.Format(ledger.EUR)
	}
	return strings.Join(parts, ", ")
}

// vatText is empty where there is none, as for most.
func vatText(points int) string {
	if points == 0 {
		return ""
	}
	return percent(points)
}
