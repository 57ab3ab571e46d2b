// Package ledger is the domain of the double-entry book: amounts, accounts,
// postings, transactions, holds, periods and the errors that callers can rely on.
// It also says how a book is sealed, so that a change of what was posted shows
// (EntryHash, Heads), and how requests look in JSON (DecodeRequest).
//
// It is pure: no SQL, no clock, no goroutines. Package ledger/engine keeps the
// book on a database; package ledger/ledgertest says what any engine must do.
//
// A posting is one row with a debit account, a credit account and an amount
// above zero in one currency, so an entry that does not balance cannot even be
// written down.
package ledger
