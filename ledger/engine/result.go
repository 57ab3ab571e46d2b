package engine

import (
	"time"

	"tweetledger/ledger"
)

// ResultAccounts returns the accounts that closing a year opens where it needs them:
// those of its profit and of its loss in a currency.
func ResultAccounts(currency ledger.Currency, opened time.Time) (profit, loss ledger.Account) {
	return resultAccount(currency, ledger.Result, opened), resultAccount(currency, ledger.ResultLoss, opened)
}
