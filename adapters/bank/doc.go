// Package bank speaks the bank's file formats: it writes credit transfers as
// pain.001 and reads account statements as camt.053. It hands over the plain
// values of package payouts and knows nothing of the book.
package bank
