package console

import (
	"fmt"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// All words of the pages on which a customer links an account.

func (p *linkPages) pageOf(found payments.LinkPage, l string) page {
	shown := page{Language: speak(l, payments.French, payments.English), Bank: p.bank,
		Title: fmt.Sprintf(speak(l, "Reliez votre compte Twitter à %s", "Link your Twitter account to %s"), p.bank),
		Lead: speak(l, "Entrez votre code secret : vous direz ensuite, sur la page de X, quel compte est le vôtre. Nous n'en gardons que le numéro.",
			"Enter your secret code: then you say on X's own page which account is yours. We keep nothing but its number."),
		Account: &accountShown{
			NumberLabel: speak(l, "Client", "Customer"), Number: found.CustomerNumber,
			PhoneLabel: speak(l, "Téléphone", "Telephone"), Phone: "•••• " + found.PhoneEnd,
			LinkedLabel: speak(l, "Déjà relié", "Linked already"),
		},
		Form: &form{Stamp: found.Stamp,
			CodeLabel: speak(l, "Code secret", "Secret code"), CodeHint: speak(l, "6 chiffres", "6 digits"),
			Button: speak(l, "Continuer vers X", "Go on to X"),
			Until: fmt.Sprintf(speak(l, "Adresse valable jusqu'au %s. Le formulaire est valable %d minutes.", "This address is good until %s. The form is good for %d minutes."),
				found.ExpiresAt.In(p.location).Format(speak(l, "02/01/2006 à 15h04", "2 January 2006, 15:04")), int(p.idle.Minutes())),
		},
		Footer: footer(l, p.bank)}
	for _, account := range found.Accounts {
		shown.Account.Linked = append(shown.Account.Linked, "@"+account.Handle)
	}
	return shown
}

// plainPage is a page that only says something.
func plainPage(bank, l, title, lead string) page {
	return page{Language: speak(l, payments.French, payments.English), Bank: bank, Title: title, Lead: lead, Footer: footer(l, bank)}
}

func noInvitationPage(bank, l string) page {
	return plainPage(bank, l, speak(l, "Adresse non valable", "Address not good"),
		speak(l, "Cette adresse n'existe pas, a déjà servi ou a expiré. Demandez-nous-en une autre.",
			"This address does not exist, was used before or has expired. Ask us for another one."))
}

func visitOverPage(bank, l string) page {
	return plainPage(bank, l, speak(l, "À recommencer", "Begin again"),
		speak(l, "Cette visite chez X n'est plus valable, ou a commencé dans un autre navigateur. Ouvrez de nouveau l'adresse que nous vous avons donnée.",
			"This visit to X is no longer good, or began in another browser. Open the address that we gave you once more."))
}

func notAllowedPage(bank, l string) page {
	return plainPage(bank, l, speak(l, "Rien n'a été relié", "Nothing was linked"),
		speak(l, "Vous n'avez pas donné votre accord sur la page de X. L'adresse que nous vous avons donnée reste valable.",
			"You did not agree on X's page. The address that we gave you is still good."))
}

func linkedPage(bank string, linked payments.Link, l string) page {
	return plainPage(bank, l, speak(l, "Compte relié", "Account linked"),
		fmt.Sprintf(speak(l, "@%s est relié à votre compte. S'il change de nom, rien ne change pour vous.",
			"@%s is linked to your account. Should it change its name, nothing changes for you."), linked.Handle))
}

func takenPage(bank string, who payments.Identity, l string) page {
	return plainPage(bank, l, speak(l, "Rien n'a été relié", "Nothing was linked"),
		fmt.Sprintf(speak(l, "@%s ne peut pas être relié à votre compte. S'il est à vous, contactez-nous.",
			"@%s cannot be linked to your account. If it is yours, contact us."), who.Handle))
}

// linkProblem is what is said about a form that was not accepted.
func linkProblem(code ledger.Code, field, l string) string {
	switch {
	case code == ledger.CodeInvalid && field == "code":
		return speak(l, "Le code secret a 6 chiffres.", "The secret code has 6 digits.")
	case code == ledger.CodeInvalid:
		return speak(l, "Cette page est restée ouverte trop longtemps. Entrez de nouveau votre code secret.", "This page was open for too long. Enter your secret code again.")
	}
	return speak(l, "Rien n'a été relié. Vérifiez votre saisie ou contactez-nous.", "Nothing was linked. Check what you entered, or contact us.")
}
