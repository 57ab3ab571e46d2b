// Package console serves the pages that people use: the one on which a customer
// confirms a payment with the secret code, those on which a customer links an account,
// and those on which people become customers and customers prove their mobile number.
package console
