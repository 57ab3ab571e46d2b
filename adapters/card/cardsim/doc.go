// Package cardsim simulates an acquirer: it serves the part of Stripe's API that
// package card uses, declines cards, asks cardholders to authenticate, delivers signed
// webhooks, takes charges back, and writes settlement files. Faults come on order:
// requests and answers are lost, and deliveries lie ready to be delivered twice, late
// and out of order.
package cardsim
