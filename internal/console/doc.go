// Package console serves the pages that people use: today the one on which a
// customer confirms a payment with the secret code.
package console
