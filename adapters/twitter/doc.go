// Package twitter is the thin adapter between X (Twitter) and the service: it
// turns what X says into payments.Message and payments.Deletion, reads commands
// out of their text, and sends what payments has to say. Nothing about money is
// decided here: caps, funds, states and receipts belong to payments.
//
// Everything that X sends is untrusted: bodies, items, texts and lists are
// bounded, ids are checked, and what cannot be read is an error that names its
// place, never a panic and never a guess.
package twitter
