// Package bank speaks the bank's file formats, and those of card acquirers: it writes
// credit transfers as pain.001, and reads account statements as camt.053 and CFONB
// 120, notifications as camt.054 and settlement files as CSV. It hands over the plain
// values of package payouts and knows nothing of the book.
package bank
