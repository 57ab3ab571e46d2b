// Package console serves the pages that people use: the one on which a customer
// confirms a payment with the secret code, those on which a customer links an account,
// those on which people become customers and customers prove their mobile number, and the
// customer's own page.
package console
