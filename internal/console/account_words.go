package console

import (
	"fmt"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// All words of customers' own pages, and of cards that are registered there or on the
// pages of enrolments.

// cardsShown are a customer's cards.
type cardsShown struct {
	Label string
	Cards []string
}

// choice is one of several things of which a form takes one.
type choice struct{ Value, Label string }

func (p *accountPages) accountPage(found payments.AccountPage, l string) page {
	shown := plainPage(p.bank, l, speak(l, "Mon compte", "My account"), "")
	shown.Account = &accountShown{NumberLabel: speak(l, "Client", "Customer"), Number: found.CustomerNumber,
		PhoneLabel: speak(l, "Téléphone", "Telephone"), Phone: "•••• " + found.PhoneEnd}
	until := fmt.Sprintf(speak(l, "Adresse valable jusqu'au %s. Les formulaires sont valables %d minutes.", "This address is good until %s. The forms are good for %d minutes."),
		found.ExpiresAt.In(p.location).Format(speak(l, "02/01/2006 à 15h04", "2 January 2006, 15:04")), int(p.idle.Minutes()))
	if len(found.Cards) > 0 {
		shown.Cards = &cardsShown{Label: speak(l, "Vos cartes", "Your cards")}
		for _, card := range found.Cards {
			shown.Cards.Cards = append(shown.Cards.Cards, cardText(card, l))
		}
	}
	if found.TakesCards {
		addCardVisit(&shown, found.Registration, l)
	}
	if found.TakesCards && shown.Link == nil {
		shown.More = append(shown.More, ask{Stamp: found.Stamp, Do: doAddCard, Title: speak(l, "Enregistrer une carte", "Register a card"),
			Lead:   speak(l, "Vous entrerez son numéro sur la page de notre prestataire de paiement : nous ne le voyons jamais.", "You enter its number on our card processor's page: we never see it."),
			Fields: []field{secretField("add-code", l)}, Button: speak(l, "Continuer", "Go on"), Until: until})
	}
	if len(found.Cards) > 0 {
		remove := ask{Stamp: found.Stamp, Do: doRemoveCard, Title: speak(l, "Retirer une carte", "Remove a card"), Choice: "card",
			Fields: []field{secretField("remove-code", l)}, Button: speak(l, "Retirer la carte", "Remove the card"), Until: until}
		for _, card := range found.Cards {
			remove.Choices = append(remove.Choices, choice{card.ID.String(), card.Brand + " •••• " + card.LastFour})
		}
		shown.More = append(shown.More, remove)
	}
	shown.More = append(shown.More, p.bankForms(found, l, until)...)
	return shown
}

// bankForms ask for the customer's own bank account, and how much is to go there.
func (p *accountPages) bankForms(found payments.AccountPage, l, until string) []ask {
	bank := ask{Stamp: found.Stamp, Do: doBank, Title: speak(l, "Mon compte bancaire", "My bank account"),
		Lead:   speak(l, "Pour récupérer votre argent : un compte à votre nom, dans la zone SEPA.", "To get your money back: an account in your name, in the SEPA area."),
		Fields: []field{{Name: "iban", Label: "IBAN", Hint: "FR76 3000 6000 0112 3456 7890 189", Type: "text", Autocomplete: "off", Most: mostIBAN}, secretField("bank-code", l)},
		Button: speak(l, "Enregistrer l'IBAN", "Keep the IBAN"), Until: until}
	if found.IBAN == "" {
		return []ask{bank}
	}
	bank.Lead = fmt.Sprintf(speak(l, "Votre argent va au compte %s. Pour en changer :", "Your money goes to the account %s. To change it:"), found.IBAN)
	return []ask{{Stamp: found.Stamp, Do: doCashOut, Title: speak(l, "Récupérer mon argent", "Get my money back"),
		Lead:   fmt.Sprintf(speak(l, "Sans frais, sur votre compte %s.", "Free of charge, to your account %s."), found.IBAN),
		Fields: []field{{Name: "amount", Label: speak(l, "Montant en euros", "Amount in euros"), Hint: "20,00", Type: "text", Autocomplete: "off", Most: mostAmount}},
		Button: speak(l, "Continuer", "Go on"), Until: until}, bank}
}

// Bounds of the fields.
const (
	mostIBAN   = 42 // 34 characters in groups of four
	mostAmount = 12
)

// confirmCashOutPage shows this amount to this bank account, and asks for the code.
func (p *accountPages) confirmCashOutPage(found payments.CashOutPage, l string) page {
	shown := plainPage(p.bank, l, speak(l, "Confirmez le virement", "Confirm the transfer"),
		speak(l, "Vérifiez le montant et le compte, puis entrez votre code secret.", "Check the amount and the account, then enter your secret code."))
	shown.Payment = &paymentShown{AmountLabel: speak(l, "Montant", "Amount"), Amount: amountText(found.Amount, found.Currency, l),
		PayeeLabel: "IBAN", Payee: found.IBAN, ReferenceLabel: speak(l, "Client", "Customer"), Reference: found.CustomerNumber}
	shown.Ask = &ask{Stamp: found.Stamp, Do: doConfirm, Button: fmt.Sprintf(speak(l, "Virer %s", "Transfer %s"), amountText(found.Amount, found.Currency, l)),
		Fields: []field{{Name: "amount", Hidden: true, Value: found.Amount.Format(found.Currency)}, secretField("confirm-code", l)},
		Until:  fmt.Sprintf(speak(l, "Le formulaire est valable %d minutes.", "The form is good for %d minutes."), int(p.idle.Minutes()))}
	return shown
}

func secretField(id, l string) field {
	return field{ID: id, Name: "code", Label: speak(l, "Code secret", "Secret code"), Hint: speak(l, "6 chiffres", "6 digits"), Type: "password", Autocomplete: "off", Digits: true}
}

// cardText describes a card: "visa •••• 4242, expire 12/2029, émise en France (FR) : acceptée".
func cardText(c payments.Card, l string) string {
	text := fmt.Sprintf(speak(l, "%s •••• %s, expire fin %02d/%d, émise en %s : acceptée", "%s •••• %s, good to the end of %02d/%d, issued in %s: accepted"),
		c.Brand, c.LastFour, c.ExpiryMonth, c.ExpiryYear, countryText(c.Country, l))
	if c.Default {
		text += speak(l, " (carte par défaut)", " (default card)")
	}
	return text
}

func countryText(country, l string) string {
	if country == "FR" {
		return "France (FR)"
	}
	return fmt.Sprintf(speak(l, "pays %s", "country %s"), country)
}

// addCardVisit says what became of the newest visit to the card processor's page, or leads
// there while it is open.
func addCardVisit(shown *page, visit *payments.CardRegistration, l string) {
	if visit == nil {
		return
	}
	switch visit.State {
	case payments.RegistrationOpen:
		shown.Link = &link{URL: visit.PageURL, Label: speak(l, "Entrer ma carte chez notre prestataire de paiement", "Enter my card on our card processor's page")}
		shown.Note = speak(l, "Vous y êtes déjà allé ? Rechargez cette page dans un instant.", "You have been there already? Reload this page in a moment.")
	case payments.RegistrationRegistered:
		shown.Note = speak(l, "Votre carte est enregistrée.", "Your card is registered.")
	case payments.RegistrationAbandoned:
		shown.Note = speak(l, "Aucune carte n'a été enregistrée à temps. Vous pouvez recommencer.", "No card was registered in time. You may begin again.")
	case payments.RegistrationRefused:
		shown.Problem = refusedCard(*visit, l)
	}
}

// refusedCard says why a card was not taken, and what to do.
func refusedCard(visit payments.CardRegistration, l string) string {
	card := speak(l, "Votre carte n'a pas été enregistrée", "Your card was not registered")
	if visit.Detail != "" {
		card += " (" + visit.Detail + ")"
	}
	why := ""
	switch visit.Reason {
	case payments.ReasonCountryRefused:
		why = fmt.Sprintf(speak(l, "elle a été émise à l'étranger (%s), et seules les cartes émises en France sont acceptées. Utilisez une autre carte.",
			"it was issued abroad (%s), and only cards that were issued in France are taken. Use another card."), visit.Country)
	case payments.ReasonCountryUnknown:
		why = speak(l, "le pays qui l'a émise n'est pas connu. Utilisez une autre carte.", "the country that issued it is not known. Use another card.")
	case payments.ReasonCardExpired:
		why = speak(l, "elle a expiré. Utilisez une autre carte.", "it has expired. Use another card.")
	case payments.ReasonCardTaken:
		why = speak(l, "elle est déjà enregistrée, ou a été retirée. Recommencez avec une autre carte.", "it is registered already, or was removed. Begin again with another card.")
	case payments.ReasonTooManyCards:
		why = speak(l, "vous avez déjà le nombre maximal de cartes. Retirez-en une d'abord.", "you have as many cards as there may be. Remove one first.")
	case payments.ReasonOwnerGone:
		why = speak(l, "votre compte ne le permet pas. Contactez-nous.", "your account does not allow it. Contact us.")
	default:
		why = speak(l, "notre prestataire de paiement ne la reconnaît pas. Recommencez avec une autre carte.", "our card processor does not know it. Begin again with another card.")
	}
	return card + speak(l, " : ", ": ") + why
}

func noAccountPage(bank, l string) page {
	return plainPage(bank, l, speak(l, "Adresse non valable", "Address not good"),
		speak(l, "Cette adresse n'existe pas ou n'est plus valable. Demandez-nous-en une autre.", "This address does not exist, or is no longer good. Ask us for another one."))
}

func cameBackPage(bank, l string) page {
	return plainPage(bank, l, speak(l, "C'est noté", "Thank you"),
		speak(l, "Revenez à la page d'où vous êtes venu : elle dit si votre carte est enregistrée.", "Go back to the page that you came from: it says whether your card is registered."))
}

// accountProblem is what is said about a form of the own page that was not accepted.
func accountProblem(err error, l string) string {
	switch code, field := ledger.CodeOf(err), fieldOf(err); {
	case code == ledger.CodeInsufficientFunds:
		return speak(l, "Votre porte-monnaie n'a pas autant d'argent. Rien n'a été viré.", "Your wallet does not have that much money. Nothing was transferred.")
	case code == ledger.CodeLimitExceeded && field == "cash_out":
		return speak(l, "Vous avez déjà fait trop de virements aujourd'hui. Réessayez demain.", "You have made too many transfers today. Try again tomorrow.")
	case code == ledger.CodeConflict:
		return speak(l, "Un virement est en cours, ou il manque un IBAN à votre nom. Réessayez plus tard ou enregistrez votre IBAN.",
			"A transfer is on its way, or there is no IBAN in your name. Try again later, or keep your IBAN.")
	case code == ledger.CodeForbidden:
		return speak(l, "Rien n'a été changé. Vérifiez votre saisie ou contactez-nous.", "Nothing was changed. Check what you entered, or contact us.")
	case code == ledger.CodeLimitExceeded:
		return speak(l, "Trop de cartes ont été essayées. Réessayez demain ou contactez-nous.", "Too many cards were tried. Try again tomorrow, or contact us.")
	case field == "code":
		return speak(l, "Le code secret a 6 chiffres.", "The secret code has 6 digits.")
	case field == "iban":
		return speak(l, "Cet IBAN n'est pas valable, ou n'est pas dans la zone SEPA. Comparez-le à votre relevé.", "This IBAN is not right, or not in the SEPA area. Compare it with your statement.")
	case field == "amount":
		return speak(l, "Entrez un montant comme 20,00, dans la limite de votre porte-monnaie.", "Enter an amount like 20.00, no more than a wallet holds.")
	case field == "card":
		return speak(l, "Choisissez l'une de vos cartes.", "Choose one of your cards.")
	case field == "cards":
		return speak(l, "Vous avez déjà le nombre maximal de cartes. Retirez-en une d'abord.", "You have as many cards as there may be. Remove one first.")
	case field == "form":
		return speak(l, "Le formulaire n'a pas pu être lu.", "The form could not be read.")
	}
	return speak(l, "Cette page est restée ouverte trop longtemps. Recommencez.", "This page was open for too long. Begin again.")
}
