package payouts

// reason is a code that says why a transfer was rejected or returned.
type reason struct {
	code    string
	account bool // the payee's account, bank or name is why: the next attempt would fail like this one
	meaning string
}

// reasons are the codes that banks use for SEPA credit transfers.
// Source: ISO 20022 External Code Sets, ExternalStatusReason1Code and
// ExternalReturnReason1Code; EPC135-18, Guidance on Reason Codes for SCT
// R-transactions, for which of them are about the creditor's account.
var reasons = []reason{
	{"AC01", true, "account number wrong"},
	{"AC03", true, "creditor's account number wrong"},
	{"AC04", true, "account closed"},
	{"AC06", true, "account blocked"},
	{"AC14", true, "kind of account wrong"},
	{"AG01", true, "transfer forbidden on this account"},
	{"BE01", true, "account is not the payee's"},
	{"BE04", true, "payee's address missing or wrong"},
	{"BE05", true, "party unknown"},
	{"BE06", true, "payee unknown to the bank"},
	{"BE07", true, "payee's address missing"},
	{"CNOR", true, "payee's bank not registered under its BIC"},
	{"MD07", true, "holder of the account deceased"},
	{"MS02", true, "refused by the payee"},
	{"NOTPROVIDED", true, "no reason given"}, // what readers make of a return without one
	{"RC01", true, "BIC wrong"},
	{"RC04", true, "BIC of the payee's bank wrong"},
	{"RR03", true, "payee's name or address missing"},
	{"RR04", true, "regulatory reason"},

	{"AG02", false, "bank operation code wrong"},
	{"AM01", false, "amount is zero"},
	{"AM02", false, "amount not allowed"},
	{"AM03", false, "currency not allowed"},
	{"AM04", false, "funds of the payer insufficient"},
	{"AM05", false, "duplicate"},
	{"AM06", false, "amount too low"},
	{"AM07", false, "amount blocked"},
	{"AM09", false, "amount wrong"},
	{"AM10", false, "control sum wrong"},
	{"AM18", false, "number of transactions wrong"},
	{"CUST", false, "asked for by the payer"},
	{"CURR", false, "currency wrong"},
	{"DS02", false, "order cancelled"},
	{"DT01", false, "date wrong"},
	{"DUPL", false, "duplicate"},
	{"ED05", false, "settlement failed"},
	{"FF01", false, "file format wrong"},
	{"FF05", false, "local instrument wrong"},
	{"FOCR", false, "returned after the payer's recall"},
	{"MS03", false, "reason not given by the bank"},
	{"RC03", false, "BIC of the payer's bank wrong"},
	{"RF01", false, "reference not unique"},
	{"RR01", false, "payer's account or identification missing"},
	{"RR02", false, "payer's name or address missing"},
	{"SVNR", false, "service not rendered"},
	{"TECH", false, "technical problem"},
	{"TM01", false, "file came after the cut-off time"},
}

// ConcernsAccount reports whether a code is about the payee's account, so that the next
// attempt would fail like the last. A code that is not known is taken for one.
func ConcernsAccount(code string) bool {
	for _, r := range reasons {
		if r.code == code {
			return r.account
		}
	}
	return true
}

// ReasonText returns a code with its meaning, as people read it: "AC04, account closed".
func ReasonText(code string) string {
	if code == "" {
		return "no reason given"
	}
	for _, r := range reasons {
		if r.code == code {
			return code + ", " + r.meaning
		}
	}
	return code
}
