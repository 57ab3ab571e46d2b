package ledger

import "regexp"

// Category says what an account is for, independent of any chart of accounts:
// "customer_emoney". A ChartEntry gives it its number in the books.
type Category string

// The categories that the service itself posts to. More may be configured.
// The CompteNum of each is dated configuration (see ChartEntry), not code.
const (
	CardsToSettle      Category = "cards_to_settle"      // card charges not yet on the bank account
	Safeguarding       Category = "safeguarding_account" // the safeguarding bank account (CMF L.526-32)
	OwnAccount         Category = "own_account"          // the institution's own bank account
	CustomerEMoney     Category = "customer_emoney"      // one wallet a customer
	CharityPayable     Category = "charity_payable"      // owed to charities and businesses, one account each
	Unclaimed          Category = "unclaimed_payments"   // sent to people who are no customers yet
	PayoutsInTransit   Category = "payouts_in_transit"   // on the way by credit transfer
	CustomerReceivable Category = "customer_receivable"  // owed by customers after a chargeback
	Suspense           Category = "suspense"             // money of unknown origin, until a break is resolved
	Commissions        Category = "commissions"          // income from payouts
	CardFees           Category = "card_fees"            // what the acquirer keeps
	VATCollected       Category = "vat_collected"        // on commissions, owed to the tax office
	Result             Category = "result_of_the_year"   // the profit of a fiscal year that was closed
	ResultLoss         Category = "loss_of_the_year"     // its loss: another number of the chart
)

const maxCategory = 40

var categoryPattern = regexp.MustCompile(`^[a-z][a-z_]*$`)

func (c Category) valid() bool {
	return len(c) <= maxCategory && categoryPattern.MatchString(string(c))
}

// ChartEntry maps a category to its account in the chart of accounts from a date
// on, until a later entry for the same category takes over.
type ChartEntry struct {
	Category  Category
	ValidFrom Date
	Number    string // CompteNum: at least three digits first (plan comptable général)
	Label     string // CompteLib
}

var chartNumberPattern = regexp.MustCompile(`^[0-9]{3}[0-9A-Za-z]{0,17}$`)

// Validate checks an entry. The error is an Error with CodeInvalid.
func (e ChartEntry) Validate() error {
	switch {
	case !e.Category.valid():
		return Errorf(CodeInvalid, "%q is not a category: 1 to %d of a-z and _", Clip(string(e.Category)), maxCategory).InField("category")
	case e.ValidFrom.IsZero():
		return Errorf(CodeInvalid, "the entry needs the date from which it is valid").InField("valid_from")
	case !e.ValidFrom.valid():
		return Errorf(CodeInvalid, "%s is not a day of the calendar", e.ValidFrom).InField("valid_from")
	case !chartNumberPattern.MatchString(e.Number):
		return Errorf(CodeInvalid, "%q is not an account number: three digits first, 20 characters at most", Clip(e.Number)).InField("number")
	case !Printable(e.Label, MaxAccountName):
		return Errorf(CodeInvalid, "the label must be 1 to %d bytes of printable text", MaxAccountName).InField("label")
	}
	return nil
}
