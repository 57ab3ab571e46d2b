// Package payouts pays out what the book owes to charities and businesses: it
// gathers donations into batches, takes four-eyes approval, keeps what the bank
// says about them, and posts each step.
package payouts
