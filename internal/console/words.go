package console

import (
	"fmt"
	"strings"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// All words of the confirmation page, in the two languages of the service. What
// is shown of an order that is closed says what became of it and no more; a
// problem with the code never says which.

// page is what the template shows.
type page struct {
	Language string
	Bank     string
	Style    any // template.CSS
	Title    string
	Lead     string
	Payment  *paymentShown
	Account  *accountShown // on the page that links accounts
	Card     string        // what a card pays of the payment
	Link     *link         // where the payer goes on
	Problem  string
	Form     *form
	Ask      *ask        // on the pages of enrolments
	Cards    *cardsShown // on a customer's own page
	Note     string
	More     []ask // further forms
	Footer   string
}

// accountShown is a customer's account, and what is linked to it.
type accountShown struct {
	NumberLabel, Number, PhoneLabel, Phone, LinkedLabel string
	Linked                                              []string
}

type paymentShown struct{ AmountLabel, Amount, PayeeLabel, Payee, ReferenceLabel, Reference string }

type link struct{ URL, Label string }

type form struct{ Stamp, CodeLabel, CodeHint, Button, Until string }

// speak picks the text in a language.
func speak(language, french, english string) string {
	if language == payments.English {
		return english
	}
	return french
}

// pageOf returns the page of an order in the state that it is in.
func (p *confirmPages) pageOf(c payments.Confirmation) page {
	l := c.Language
	shown := page{Language: speak(l, payments.French, payments.English), Bank: p.bank, Payment: &paymentShown{
		AmountLabel: speak(l, "Montant", "Amount"), Amount: amountText(c.Amount, c.Currency, l),
		PayeeLabel: speak(l, "Bénéficiaire", "To"), Payee: payeeText(c),
		ReferenceLabel: speak(l, "Référence", "Reference"), Reference: c.Reference,
	}, Footer: footer(l, p.bank)}
	switch c.State {
	case payments.StateAwaitingConfirmation:
		shown.Title = speak(l, "Confirmez votre paiement", "Confirm your payment")
		shown.Lead = speak(l, "Vérifiez le montant et le bénéficiaire, puis entrez votre code secret.", "Check the amount and the payee, then enter your secret code.")
		if c.PayeeKind == payments.Unregistered {
			shown.Lead += " " + speak(l, "Le bénéficiaire n'est pas encore notre client : l'argent l'attend quelques jours, puis vous revient s'il ne l'a pas réclamé.",
				"The payee is not our customer yet: the money waits a few days, then comes back to you unless it was claimed.")
		}
		shown.Form = &form{
			Stamp:     c.Stamp,
			CodeLabel: speak(l, "Code secret", "Secret code"), CodeHint: speak(l, "6 chiffres", "6 digits"),
			Button: fmt.Sprintf(speak(l, "Envoyer %s", "Send %s"), amountText(c.Amount, c.Currency, l)),
			Until: fmt.Sprintf(speak(l, "À confirmer avant le %s. Le formulaire est valable %d minutes.", "Confirm before %s. The form is good for %d minutes."),
				c.ExpiresAt.In(p.location).Format(speak(l, "02/01/2006 à 15h04", "2 January 2006, 15:04")), int(p.idle.Minutes())),
		}
		if c.Card != nil {
			p.addCard(&shown, *c.Card, c)
		}
	case payments.StatePosted:
		shown.Title = speak(l, "Paiement effectué", "Payment made")
		shown.Lead = speak(l, "Il n'y a plus rien à faire ici.", "There is nothing left to do here.")
	case payments.StateExpired:
		shown.Title = speak(l, "Demande expirée", "Request expired")
		shown.Lead = speak(l, "Elle n'a pas été confirmée à temps. Rien n'a été débité.", "It was not confirmed in time. Nothing was taken.")
	default:
		shown.Title = speak(l, "Demande close", "Request closed")
		shown.Lead = speak(l, "Ce paiement n'est plus à confirmer. Rien n'a été débité.", "This payment is no longer to be confirmed. Nothing was taken.")
	}
	return shown
}

// addCard says what a card pays of an order, or what is to be done before it does.
func (p *confirmPages) addCard(shown *page, card payments.CardShare, c payments.Confirmation) {
	l := c.Language
	switch card.State {
	case payments.ChargeChallenged:
		shown.Form = nil
		shown.Title = speak(l, "Votre banque vous demande de confirmer", "Your card's bank asks you to approve")
		shown.Lead = speak(l, "Votre code secret est bon. Approuvez maintenant le paiement par carte, puis revenez ici.", "Your secret code is right. Now approve the card payment, then come back here.")
		shown.Link = &link{URL: card.ChallengeURL, Label: speak(l, "Continuer chez votre banque", "Go on to your bank")}
	case payments.ChargeRequested, payments.ChargeSucceeded:
		shown.Form = nil
		shown.Title = speak(l, "Paiement par carte en cours", "Card payment in progress")
		shown.Lead = speak(l, "Rechargez cette page dans un instant.", "Reload this page in a moment.")
	}
	if card.Amount > 0 {
		shown.Card = fmt.Sprintf(speak(l, "Il manque %s dans votre porte-monnaie : votre carte %s •••• %s sera débitée de ce montant.",
			"Your wallet lacks %s: your card %s •••• %s will be charged that amount."), amountText(card.Amount, c.Currency, l), card.Brand, card.LastFour)
	}
}

func footer(l, bank string) string {
	return fmt.Sprintf(speak(l, "%s ne demande jamais votre code secret ailleurs que sur cette page.", "%s never asks for your secret code anywhere but on this page."), bank)
}

// unknownPage says that there is nothing under an address, in both languages
// since nobody knows whose it is.
func unknownPage(bank string) page {
	return page{Language: payments.French, Bank: bank, Title: "Page introuvable / Page not found",
		Lead:   "Il n'y a rien à confirmer à cette adresse. There is nothing to confirm under this address.",
		Footer: footer(payments.French, bank)}
}

// brokenPage says that something failed that the customer cannot help.
func brokenPage(bank string) page {
	return page{Language: payments.French, Bank: bank, Title: "Service indisponible / Service unavailable",
		Lead:   "Réessayez dans quelques minutes. Try again in a few minutes.",
		Footer: footer(payments.French, bank)}
}

func payeeText(c payments.Confirmation) string {
	if c.PayeeName == "" {
		return "@" + c.PayeeHandle
	}
	return c.PayeeName + " (@" + c.PayeeHandle + ")"
}

// amountText writes an amount as people do: "20,00 €", "€20.00".
func amountText(a ledger.Amount, c ledger.Currency, l string) string {
	number, symbol := a.Format(c), string(c)+"\u00a0"
	if c == ledger.EUR {
		symbol = "€"
	}
	if l == payments.English {
		return symbol + number
	}
	return strings.Replace(number, ".", ",", 1) + "\u00a0" + strings.TrimSuffix(symbol, "\u00a0")
}

// problemText is what is said about a code that was not accepted.
func problemText(code ledger.Code, field, l string) string {
	switch {
	case code == ledger.CodeInvalid && field == "code":
		return speak(l, "Le code secret a 6 chiffres.", "The secret code has 6 digits.")
	case code == ledger.CodeInsufficientFunds:
		return speak(l, "La carte n'a pas payé. Réessayez, ou rechargez votre porte-monnaie.", "The card did not pay. Try again, or top up your wallet.")
	case code == ledger.CodeInvalid:
		return speak(l, "Cette page est restée ouverte trop longtemps. Entrez de nouveau votre code secret.", "This page was open for too long. Enter your secret code again.")
	}
	return speak(l, "Le paiement n'a pas été confirmé. Vérifiez votre saisie ou contactez-nous.", "The payment was not confirmed. Check what you entered, or contact us.")
}
