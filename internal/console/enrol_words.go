package console

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// All words of the pages on which people become customers and prove their number.

// ask is a form with fields of its own.
type ask struct {
	Title  string // where a page has several
	Lead   string
	Stamp  string
	Do     string // what it asks for, where a page has more than one form
	Fields []field
	// Choices are shown above the fields; one is to be taken, under the name Choice.
	Choice  string
	Choices []choice
	Button  string
	Until   string
	Other   *otherForm
	Wrong   bool // the page says what was wrong with what was entered
}

// otherForm is a second form of a page, with nothing to enter.
type otherForm struct{ Do, Button string }

// field is something to enter.
type field struct {
	ID                       string // empty: Name; unique on the page
	Name, Label, Hint, Value string
	Type                     string // of the input
	Autocomplete             string
	Digits                   bool // exactly six
	Most                     int  // characters
	Check                    bool // a box to tick
	Hidden                   bool // goes with the form as it is
}

// HTMLID returns the field's id on the page.
func (f field) HTMLID() string { return cmp.Or(f.ID, f.Name) }

// Bounds of the fields; what is entered is checked again where it is used.
const (
	mostName  = 120
	mostPhone = 40
)

func phoneField(l string, entered url.Values) field {
	return field{Name: "phone", Label: speak(l, "Numéro de mobile", "Mobile number"), Hint: speak(l, "Un mobile français : 06 12 34 56 78", "A French one: 06 12 34 56 78"),
		Type: "tel", Autocomplete: "tel", Most: mostPhone, Value: clipped(entered.Get("phone"), mostPhone)}
}

// clipped bounds what is shown again of what somebody entered.
func clipped(s string, most int) string {
	runes := []rune(s)
	return string(runes[:min(len(runes), most)])
}

func (p *enrolPages) newPage(l, title, lead string) page { return plainPage(p.bank, l, title, lead) }

func (p *enrolPages) goodFor(l string) string {
	return fmt.Sprintf(speak(l, "Le formulaire est valable %d minutes.", "The form is good for %d minutes."), int(p.idle.Minutes()))
}

func (p *enrolPages) until(l string, at time.Time) string {
	return fmt.Sprintf(speak(l, "À faire avant le %s. ", "To be done before %s. "),
		at.In(p.location).Format(speak(l, "02/01/2006 à 15h04", "2 January 2006, 15:04"))) + p.goodFor(l)
}

func (p *enrolPages) startPage(l, stamp string, entered url.Values) page {
	shown := p.newPage(l, fmt.Sprintf(speak(l, "Ouvrez un compte %s", "Open a %s account"), p.bank),
		speak(l, "Nous envoyons un code à votre téléphone : il prouve que le numéro est le vôtre.", "We send a code to your telephone: it proves that the number is yours."))
	shown.Ask = &ask{Stamp: stamp, Button: speak(l, "Recevoir le code", "Get the code"), Until: p.goodFor(l), Fields: []field{
		{Name: "name", Label: speak(l, "Prénom et nom", "Full name"), Type: "text", Autocomplete: "name", Most: mostName, Value: clipped(entered.Get("name"), mostName)},
		phoneField(l, entered),
		{Name: "named", Label: speak(l, "J'accepte que les associations auxquelles je donne voient mon nom.", "Charities that I give to may see my name."), Check: true,
			Value: clipped(entered.Get("named"), 1)},
	}}
	return shown
}

func codeField(l string) field {
	return field{Name: "code", Label: speak(l, "Code reçu", "Code that you got"), Hint: speak(l, "6 chiffres", "6 digits"), Type: "text", Autocomplete: "one-time-code", Digits: true}
}

// sentTo says where a code was sent, or would have been: the same for any number.
func sentTo(l, phoneEnd string) string {
	return fmt.Sprintf(speak(l, "Si le numéro •••• %s peut recevoir un code, il vient de partir. Entrez-le ici.",
		"If the number •••• %s can be sent a code, it is on its way. Enter it here."), phoneEnd)
}

func (p *enrolPages) stepPage(found payments.EnrolmentPage, l string) page {
	shown := p.newPage(l, "", "")
	switch found.Step {
	case payments.StepCode:
		shown.Title, shown.Lead = speak(l, "Entrez le code reçu", "Enter the code that you got"), sentTo(l, found.PhoneEnd)
		shown.Ask = &ask{Do: doCode, Fields: []field{codeField(l)}, Button: speak(l, "Continuer", "Go on"),
			Other: &otherForm{Do: doResend, Button: speak(l, "Recevoir un autre code", "Get another code")}}
	case payments.StepCard:
		shown.Title = speak(l, "Votre carte de paiement", "Your payment card")
		p.cardStep(&shown, found, l)
	case payments.StepSecret:
		shown.Title = speak(l, "Choisissez votre code secret", "Choose your secret code")
		shown.Lead = speak(l, "Vous confirmerez chaque paiement avec ce code. Ne le donnez à personne.", "You will confirm each payment with this code. Give it to nobody.")
		secret := func(name, label string) field {
			return field{Name: name, Label: label, Hint: speak(l, "6 chiffres", "6 digits"), Type: "password", Autocomplete: "new-password", Digits: true}
		}
		shown.Ask = &ask{Do: doSecret, Button: speak(l, "Ouvrir mon compte", "Open my account"), Fields: []field{
			secret("code", speak(l, "Code secret", "Secret code")), secret("repeat", speak(l, "Encore une fois", "Once more"))}}
	default:
		shown.Title = speak(l, "Bienvenue", "Welcome")
		shown.Lead = fmt.Sprintf(speak(l, "Votre compte est ouvert. Votre numéro de client est %s.", "Your account is open. Your customer number is %s."), found.CustomerNumber)
		p.doneStep(&shown, found, l)
	}
	if shown.Ask != nil {
		shown.Ask.Stamp, shown.Ask.Until = found.Stamp, p.until(l, found.ExpiresAt)
	}
	return shown
}

// cardStep leads to the card processor's page, or takes the card that staff have
// registered where customers cannot do so here.
func (p *enrolPages) cardStep(shown *page, found payments.EnrolmentPage, l string) {
	shown.Lead = speak(l, "Enregistrez une carte émise en France, puis continuez ici.", "Register a card that was issued in France, then go on here.")
	if !found.TakesCards {
		shown.Ask = &ask{Do: doCard, Button: speak(l, "Ma carte est enregistrée", "My card is registered")}
		return
	}
	shown.Lead += " " + speak(l, "Vous entrerez son numéro sur la page de notre prestataire de paiement : nous ne le voyons jamais.",
		"You enter its number on our card processor's page: we never see it.")
	addCardVisit(shown, found.Registration, l)
	shown.Ask = &ask{Do: doCard, Button: speak(l, "Ma carte est enregistrée", "My card is registered")}
	if shown.Link == nil {
		shown.Ask = &ask{Do: doAddCard, Button: speak(l, "Enregistrer une carte", "Register a card"),
			Other: &otherForm{Do: doCard, Button: speak(l, "Ma carte est enregistrée", "My card is registered")}}
	}
}

// doneStep offers what a new customer may do next.
func (p *enrolPages) doneStep(shown *page, found payments.EnrolmentPage, l string) {
	account := otherForm{Do: doAccount, Button: speak(l, "Mes cartes", "My cards")}
	switch {
	case p.links:
		shown.Ask = &ask{Do: doLink, Button: speak(l, "Relier mon compte Twitter", "Link my Twitter account")}
		if found.TakesCards {
			shown.Ask.Other = &account
		}
	case found.TakesCards:
		shown.Ask = &ask{Do: account.Do, Button: account.Button}
	}
}

func (p *enrolPages) startProofPage(l, stamp string, entered url.Values) page {
	shown := p.newPage(l, speak(l, "Prouvez votre numéro", "Prove your number"),
		speak(l, "Si votre code secret est bloqué, ou si votre numéro a changé, un code envoyé à votre téléphone suffit.",
			"If your secret code is blocked, or your number has changed, a code sent to your telephone is enough."))
	shown.Ask = &ask{Stamp: stamp, Button: speak(l, "Recevoir le code", "Get the code"), Until: p.goodFor(l), Fields: []field{phoneField(l, entered)}}
	return shown
}

func (p *enrolPages) proofPage(found payments.VerificationPage, l string) page {
	if found.Done {
		return p.newPage(l, speak(l, "Numéro prouvé", "Number proven"),
			speak(l, "Votre code secret peut de nouveau être utilisé.", "Your secret code can be used again."))
	}
	shown := p.newPage(l, speak(l, "Entrez le code reçu", "Enter the code that you got"), sentTo(l, found.PhoneEnd))
	shown.Ask = &ask{Stamp: found.Stamp, Do: doCode, Fields: []field{codeField(l)}, Button: speak(l, "Continuer", "Go on"), Until: p.until(l, found.ExpiresAt)}
	return shown
}

func nothingBegunPage(bank, l string) page {
	return plainPage(bank, l, speak(l, "Adresse non valable", "Address not good"),
		speak(l, "Cette adresse n'existe pas ou n'est plus valable. Recommencez depuis le début.", "This address does not exist, or is no longer good. Begin again."))
}

// enrolProblem is what is said about a form that was not accepted; nothing where all is well.
func enrolProblem(err error, l string) string {
	if err == nil {
		return ""
	}
	if weak, ok := errors.AsType[*payments.WeakCodeError](err); ok {
		return weakText(weak.Reason, l)
	}
	switch ledger.CodeOf(err) {
	case ledger.CodeLimitExceeded:
		if fieldOf(err) == "card" {
			return accountProblem(err, l)
		}
		return speak(l, "Trop de codes ont été demandés. Réessayez dans une heure ou contactez-nous.", "Too many codes were asked for. Try again in an hour, or contact us.")
	case ledger.CodeForbidden:
		if fieldOf(err) == "card" {
			return speak(l, "Nous ne voyons pas encore de carte émise en France.", "We do not see a card that was issued in France yet.")
		}
		return speak(l, "Le code n'a pas été accepté. Vérifiez votre saisie ou demandez un autre code.", "The code was not accepted. Check what you entered, or ask for another code.")
	}
	switch fieldOf(err) {
	case "name":
		return speak(l, "Entrez votre nom, en 120 caractères au plus et sans caractères invisibles.", "Enter your name, in 120 characters at most and without any that cannot be seen.")
	case "phone":
		return speak(l, "Entrez un numéro de mobile français, comme 06 12 34 56 78.", "Enter a French mobile number, like 06 12 34 56 78.")
	case "code":
		return speak(l, "Le code a 6 chiffres.", "The code has 6 digits.")
	case "repeat":
		return speak(l, "Les deux codes ne sont pas les mêmes.", "The two codes are not the same.")
	case "form":
		return speak(l, "Le formulaire n'a pas pu être lu.", "The form could not be read.")
	}
	return speak(l, "Cette page est restée ouverte trop longtemps. Recommencez.", "This page was open for too long. Begin again.")
}

// weakText says why a secret code is not taken, and what to do.
func weakText(reason payments.WeakReason, l string) string {
	switch reason {
	case payments.WeakRepeated:
		return speak(l, "Ce code est facile à deviner : des chiffres s'y répètent. Choisissez-en un autre.", "This code is easy to guess: digits repeat in it. Choose another one.")
	case payments.WeakSequence:
		return speak(l, "Ce code est facile à deviner : ses chiffres se suivent. Choisissez-en un autre.", "This code is easy to guess: its digits follow each other. Choose another one.")
	case payments.WeakPhone:
		return speak(l, "Ce code est facile à deviner : il fait partie de votre numéro de téléphone. Choisissez-en un autre.",
			"This code is easy to guess: it is part of your telephone number. Choose another one.")
	}
	return speak(l, "Ce code est facile à deviner : beaucoup de gens le choisissent. Choisissez-en un autre.", "This code is easy to guess: many people choose it. Choose another one.")
}
