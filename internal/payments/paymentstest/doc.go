// Package paymentstest holds a state machine over the whole payment service: people
// enrol, tweet, edit, confirm, guess, cancel and charge cards at random, on several
// processes at once, while the clock moves and the card's acquirer fails. After each
// step the book is compared with a model of the rules that knows no database, and what
// the model says changes nothing must have changed nothing.
//
//	go test ./internal/payments/paymentstest                  a short run
//	TWEETLEDGER_STEPS=10000 go test … -timeout 2h             one long run on each engine
//	go test … -rapid.seed=N                                   the run that failed
//
// The card's side has a machine of its own in adapters/card, which breaks it harder; the
// ledger's is in ledger/ledgertest.
package paymentstest
