// Package card charges cards by Stripe's API: it is the payment service's card
// processor, and takes the webhooks by which Stripe says that there are news. Card
// numbers never come near it: customers enter them on Stripe's own pages, and a card is
// known by a token here. cardsim is an acquirer for demo and tests that speaks the same.
package card
