// Package console serves the pages that people use: the one on which a
// customer confirms a payment with the secret code, and those on which a customer
// links an account.
package console
