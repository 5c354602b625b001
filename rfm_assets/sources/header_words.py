"""What the name of a column says about it, in six languages and in the exports of known shops.

What its values say does not belong here (`column_evidence.py`), nor what is made of both
(`suggesting.py`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal, TypeAlias

Role: TypeAlias = Literal[
    "customer_id", "order_id", "date", "amount", "unit_price", "quantity", "currency"
]
"""What a column may be; price and quantity become an amount together."""

_CONCEPTS: Final[Mapping[str, str]] = {
    "customer": "customer cust client buyer shopper purchaser customers clients kunde kunden "
    "kaufer besteller debitor acheteur cliente clientes clienti comprador acquirente compratore "
    "klant klanten koper patron",
    "person": "user member account visitor contact household subscriber person usr mitglied konto "
    "benutzer nutzer utilisateur membre usuario miembro utente membro gebruiker lid assinante "
    "party profile",
    "id": "id ids no nr num number code key ref reference uid uuid guid hash nummer numero codigo "
    "codice kennung referenz identifier identifiant identificador identificativo kode sk",
    "order": "order orders invoice receipt basket booking bill purchase checkout sale "
    "bestellung bestell bestellungen auftrag auftrags rechnung rechnungs beleg kaufbeleg kauf "
    "bon kassenbon commande facture achat pedido factura compra venta recibo bestelling bestel "
    "factuur aankoop ordine fattura acquisto scontrino encomenda fatura documento voucher document "
    "inv",
    "payment": "transaction transactions trans txn charge ticket cart transaktion transaccion transacao transazione transactie "
    "zahlung paiement pago pagamento betaling payment warenkorb panier",
    "line": "line item lineitem position pos row record zeile artikelposition ligne linea "
    "linha regel riga index idx",
    "date": "date datum fecha data day tag jour dia giorno dag dt dates",
    "time": "time timestamp at datetime ts zeit uhrzeit zeitpunkt zeitstempel heure hora ora tijd "
    "tijdstip on when utc gmt",
    "made": "created placed purchased ordered invoiced sold erstellt angelegt gekauft bestellt "
    "creation creacion criacao creazione aangemaakt event",
    "paid": "paid processed completed captured bezahlt paye pagado pagato betaald payed",
    "other_date": "ship shipped shipping delivered deliver birth birthday updated update modified "
    "modification due canceled cancelled cancel refunded expiry expires expiration signup "
    "registered registration fulfilled returned joined geburt geburts geburtsdatum liefer lieferung "
    "versand versendet livraison envio spedizione verzending levering leverdatum geandert "
    "storniert start end first last since valid closed estimated promised required",
    "total": "total totals totaal totale gesamt grand gesamtsumme summe sum somme suma soma som "
    "ttc",
    "amount": "amount amt betrag montant importe importo monto montante bedrag value valor wert "
    "valore waarde valeur amountpaid",
    "revenue": "revenue sales umsatz turnover omzet ventas vendas vendite spend spent ca gmv "
    "ingresos faturamento fatturato income takings erlos",
    "net": "net netto gross brutto neto bruto lordo liquido",
    "subtotal": "subtotal zwischensumme sottototale subtotaal",
    "price": "price preis prix precio prijs prezzo preco einzelpreis",
    "unit": "unit each per stuck stueck stuk unitaire unitario unitaria einzel item lineitem piece "
    "apiece verkaufs selling list",
    "quantity": "quantity items qty qte quantite cantidad cant aantal quantita qta quantidade qtd menge "
    "anzahl stuckzahl quantities hoeveelheid pieces pcs qnty quant",
    "tax": "tax taxes vat gst mwst ust steuer iva tva btw impuesto imposta imposto taxe duties",
    "discount": "discount discounts rabatt remise descuento sconto korting desconto nachlass rebate",
    "shipping": "shipping freight postage delivery versandkosten porto frete flete",
    "fee": "fee fees gebuhr commission frais provision tip tips surcharge",
    "refund": "refund refunded refunds erstattung rembourse reembolso rimborso return returns "
    "chargeback outstanding",
    "cost": "cost costs kosten cout costo custo margin profit marge marge gewinn balance saldo "
    "wholesale msrp rrp compare budget limit",
    "other_number": "points rate percent percentage pct year month week quarter age count latitude "
    "longitude lat lng lon weight rating score rank punkte jahr monat woche stock inventory tax_rate "
    "distance duration size",
    "converted": "converted exchange base original",
    "cents": "cents cent minor centimes pence",
    "email": "email emails mail emailaddress correo",
    "phone": "phone telephone tel mobile fax telefon telefono handy telefone telefoon portable cell",
    "postcode": "zip zipcode postcode postal plz postleitzahl cap cep cp",
    "name": "name names firstname lastname surname vorname nachname nom prenom nombre apellido "
    "nome cognome naam achternaam company firma title initials salutation fullname",
    "address": "address street city town adresse strasse ort stadt direccion ciudad indirizzo citta "
    "adres plaats cidade endereco ville rue billing ship_to address1 address2 hausnummer",
    "country": "country land pays pais paese nation",
    "state": "state region province county bundesland provincia regio estado",
    "product": "product sku article artikel produkt produit producto prodotto produto stock asin "
    "ean gtin upc barcode item articulo articolo merchandise",
    "category": "category kategorie categorie categoria department warengruppe productgroup "
    "division",
    "channel": "channel kanal canal canale kanaal medium source device",
    "currency": "currency wahrung waehrung devise moneda valuta moeda ccy curr",
    "method": "method gateway paymentmethod tender zahlungsart card",
    "status": "status statut estado_pedido stato fulfillment fulfilment financial state_code risk",
    "store": "store shop branch outlet filiale laden geschaft magasin tienda negozio winkel loja "
    "location site vendor warehouse",
    "brand": "brand marke marque marca merk hersteller manufacturer",
    "group": "type group segment class tier level kind flag typ gruppe category_id language locale "
    "gender sex score cohort agent ip consent accepts notes note comment tags description "
    "beschreibung bezeichnung url",
    "coupon": "coupon gutschein promo promotion",
}  # fmt: skip
"""Words without accents and capitals, by what they mean. A word may mean several things."""

_FILLERS: Final = frozenset(
    {"the", "of", "de", "du", "der", "des", "la", "le", "del", "di", "van", "da", "do", "das",
     "den", "and", "und", "et", "y", "e", "een", "my", "our", "in", "a", "el", "s", "n", "en",
     "unique", "incl", "excl", "usd", "eur", "gbp", "web"}
)  # fmt: skip
"""Words that say nothing beside others."""


def _meanings() -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for concept, words in _CONCEPTS.items():
        for word in words.split():
            found.setdefault(word, set()).add(concept)
    return {word: frozenset(concepts) for word, concepts in found.items()}


_MEANINGS: Final = _meanings()
_SHORTEST: Final = 2
_UNKNOWN: Final = frozenset({"?"})


@cache
def concepts_of(name: str) -> tuple[frozenset[str], ...]:
    """What each word of a column's name means; `?` for a word that is not known."""
    plain = unicodedata.normalize("NFKD", name.replace("ß", "ss").replace("°", "o "))
    plain = "".join(sign for sign in plain if not unicodedata.combining(sign))
    plain = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", plain)
    plain = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1 \2", plain).lower()
    plain = re.sub(r"\be[-_ ]mail", "email", plain)
    plain = re.sub(r"\b(?:number|num|no|nr|nb|n)[-_ ]of[-_ ]", "count ", plain)
    words = [word for word in re.split(r"[^a-z0-9]+", plain) if word]
    meant: list[frozenset[str]] = []
    for word in words:
        if word not in _FILLERS or len(words) == 1:
            meant += _segmented(word) or [_UNKNOWN]
    return tuple(meant)


def _segmented(word: str) -> list[frozenset[str]] | None:
    """The meanings of a word, or of the known words that it is put together from."""
    if word in _MEANINGS:
        return [_MEANINGS[word]]
    for at in range(len(word) - _SHORTEST, _SHORTEST, -1):
        head, rest = word[:at], word[at:]
        known = _MEANINGS.get(head) or _MEANINGS.get(head.removesuffix("s"))
        if known and (more := _segmented(rest)):
            return [known, *more]
    return None


@dataclass(frozen=True)
class Header:
    """The names of a file's columns, and which known export they are of, if any."""

    names: tuple[str, ...]
    export: Export | None

    @classmethod
    def of(cls, names: Sequence[str]) -> Header:
        return cls(tuple(names), known_export(names))

    def strength(self, role: Role, name: str) -> float:
        """How much the name alone speaks for the role, 0..1."""
        if self.export is not None and role in self.export.roles:
            wanted = [one.lower() for one in self.export.roles[role]]
            if name.lower() in wanted:
                return 0.99 - 0.1 * wanted.index(name.lower())
        return strength(role, name)

    def explained(self, role: Role, name: str) -> str:
        """Why, as the beginning of a sentence."""
        if self.export is not None and name.lower() in {
            one.lower() for one in self.export.roles.get(role, ())
        }:
            return f"in {self.export.title} this is it"
        return (
            f"its name says {_SAID[role]}" if strength(role, name) > 0 else "its name says nothing"
        )


_SAID: Final[Mapping[Role, str]] = {
    "customer_id": "customer",
    "order_id": "order",
    "date": "date",
    "amount": "amount",
    "unit_price": "price",
    "quantity": "quantity",
    "currency": "currency",
}


@dataclass(frozen=True)
class Export:
    """What a known program writes: how it is recognised, and what its columns are, best first."""

    title: str
    recognised_by: frozenset[str]
    roles: Mapping[Role, tuple[str, ...]]


_EXPORTS: Final = (
    Export(
        "Shopify's export of orders",
        frozenset({"name", "financial status", "lineitem quantity", "lineitem price"}),
        {
            "customer_id": ("Customer ID", "Customer: ID", "Email"),
            "order_id": ("Name",),
            "date": ("Created at", "Paid at", "Processed at"),
            "amount": ("Total",),
            "unit_price": ("Lineitem price",),
            "quantity": ("Lineitem quantity",),
        },
    ),
    Export(
        "Stripe's export of payments",
        frozenset({"id", "amount", "currency", "customer id", "amount refunded"}),
        {
            "customer_id": ("Customer ID", "Customer Email"),
            "order_id": ("id",),
            "date": ("Created (UTC)", "Created date (UTC)", "Created"),
            "amount": ("Amount",),
        },
    ),
    Export(
        "Amazon's report of orders",
        frozenset({"amazon-order-id", "purchase-date", "item-price"}),
        {
            "customer_id": ("buyer-id", "buyer-email"),
            "order_id": ("amazon-order-id",),
            "date": ("purchase-date",),
            "amount": ("item-price",),
        },
    ),
    Export(
        "Magento's export of orders",
        frozenset({"id", "purchase point", "purchase date", "grand total (base)"}),
        {
            "customer_id": ("Customer ID", "Customer Email"),
            "order_id": ("ID",),
            "date": ("Purchase Date",),
            "amount": ("Grand Total (Base)", "Grand Total (Purchased)"),
        },
    ),
    Export(
        "a WooCommerce export of orders",
        frozenset({"order_id", "order_number", "order_date", "order_total"}),
        {
            "customer_id": ("customer_id", "customer_user", "billing_email", "customer_email"),
            "order_id": ("order_id", "order_number"),
            "date": ("order_date", "paid_date"),
            "amount": ("order_total",),
        },
    ),
)


def known_export(names: Collection[str]) -> Export | None:
    """The known program that writes such a header, if any."""
    lowered = {name.lower() for name in names}
    return next((export for export in _EXPORTS if export.recognised_by <= lowered), None)


_DETAILS: Final = frozenset(
    {"address", "phone", "postcode", "country", "state", "group", "status", "method", "channel",
     "date", "time", "made", "amount", "total", "revenue", "price", "currency", "tax", "discount",
     "quantity", "product", "other_number", "category", "store", "brand", "coupon", "fee",
     "shipping", "other_date", "cost", "refund"}
)  # fmt: skip
"""What makes a column of a customer or an order something about them, and not their id."""
_NO_AMOUNT: Final = frozenset(
    {"id", "email", "phone", "postcode", "name", "address", "date", "time", "tax", "discount",
     "shipping", "fee", "refund", "cost", "other_number", "quantity", "status", "method",
     "currency", "group", "other_date", "country", "state", "coupon", "customer", "channel"}
)  # fmt: skip


@cache
def strength(role: Role, name: str) -> float:
    """How much a name alone speaks for a role, 0..1."""
    words = concepts_of(name)
    known: frozenset[str] = frozenset().union(*words)
    strange = sum(1 for word in words if word == _UNKNOWN)
    found = _RULES[role](known - {"?"}, words)
    return round(found * (0.85**strange if found else 0), 3)


def _customer(known: frozenset[str], words: Sequence[frozenset[str]]) -> float:
    whom = 1.0 if "customer" in known else 0.88 if "person" in known else 0.0
    if "email" in known:
        return 0.6 if whom == 1.0 else 0.55
    if not whom or known & (_DETAILS - {"state", "product"}) - _shared(words):
        return 0.0
    if "name" in known:
        return 0.3 * whom
    return whom * (0.98 if "id" in known else 0.85)


def _shared(words: Sequence[frozenset[str]]) -> frozenset[str]:
    """Meanings that a word has beside the one that is taken."""
    taken = {"customer", "person", "id", "order"}
    return frozenset().union(*(word for word in words if word & taken and len(word) > 1))


def _order(known: frozenset[str], words: Sequence[frozenset[str]]) -> float:
    what = 1.0 if "order" in known else 0.9 if "payment" in known else 0.0
    if known == {"id"}:
        return 0.45 if len(words) == 1 else 0.0
    if known & {"customer", "person", "email", "line", "name", "unit"}:
        return 0.0
    if not what or known & _DETAILS - _shared(words):
        return 0.0
    return what * (0.98 if "id" in known else 0.8)


def _date(known: frozenset[str], words: Sequence[frozenset[str]]) -> float:
    del words
    if not known & {"date", "time", "made", "paid"} or known & {"id", "currency"}:
        return 0.0
    if known & {"other_date", "refund", "customer", "person", "shipping"}:
        return 0.3
    if known & {"order", "payment", "made"}:
        return 0.98
    return 0.88 if "paid" in known else 0.93 if "date" in known else 0.85


def _amount(known: frozenset[str], words: Sequence[frozenset[str]]) -> float:  # noqa: PLR0911 a table
    del words
    if known & (_NO_AMOUNT - ({"order"} & known)):
        return 0.0
    factor = 0.6 if known & {"converted", "subtotal"} else 1.0
    if known & {"total"}:
        return 0.95 * factor
    if "price" in known:
        return 0.7 if known & {"order", "payment"} else 0.0
    if known & {"revenue"}:
        return 0.92 * factor
    if known & {"amount"}:
        return (0.95 if known & {"order", "payment", "line", "paid"} else 0.9) * factor
    if known in ({"subtotal"}, {"net"}):
        return 0.6
    return 0.5 if known == {"cents"} else 0.0


def _unit_price(known: frozenset[str], words: Sequence[frozenset[str]]) -> float:
    del words
    others = _NO_AMOUNT | {"total", "order", "payment"}
    if "price" in known and not known & others:
        return 0.95 if "unit" in known else 0.85
    # Such as `Unit amount`.
    return 0.85 if {"unit", "amount"} <= known and not known & others else 0.0


def _quantity(known: frozenset[str], words: Sequence[frozenset[str]]) -> float:
    del words
    if "quantity" not in known or known & {"id", "refund", "other_date", "date", "cost"}:
        return 0.0
    return 0.95


def _currency(known: frozenset[str], words: Sequence[frozenset[str]]) -> float:
    del words
    if "currency" not in known or known & {"amount", "other_number", "revenue", "converted"}:
        return 0.0
    return 0.95


_RULES: Final = {
    "customer_id": _customer,
    "order_id": _order,
    "date": _date,
    "amount": _amount,
    "unit_price": _unit_price,
    "quantity": _quantity,
    "currency": _currency,
}

_ATTRIBUTES: Final = (
    ("product_id", {"product"}, {"id"}),
    ("category", {"category"}, set[str]()),
    ("quantity", {"quantity"}, set[str]()),
    ("unit_price", {"price"}, set[str]()),
    ("country", {"country"}, set[str]()),
    ("channel", {"channel"}, set[str]()),
    ("payment_method", {"method"}, set[str]()),
    ("store", {"store"}, set[str]()),
    ("brand", {"brand"}, set[str]()),
    ("discount", {"discount"}, set[str]()),
    ("status", {"status"}, set[str]()),
)
_PERSONAL: Final = frozenset({"email", "phone", "postcode", "address", "name"})


def is_personal(name: str) -> bool:
    """Whether such a column holds names, addresses and the like."""
    known: frozenset[str] = frozenset().union(*concepts_of(name))
    if known & {"product", "category", "brand", "store", "unit"} and "name" in known:
        return False
    return bool(known & _PERSONAL)


def means(name: str, *concepts: str) -> bool:
    """Whether a word of the name means one of `concepts`."""
    return bool(frozenset().union(*concepts_of(name)) & set(concepts))


def attribute_name(name: str) -> str | None:
    """How this package calls what the column holds, if the name says so."""
    known: frozenset[str] = frozenset().union(*concepts_of(name))
    if known & {"customer", "person", "tax", "total", "cost", "converted"}:
        return None
    for ours, wanted, further in _ATTRIBUTES:
        if wanted <= known and further <= known:
            return ours
    # A stock-keeping unit is an id by itself.
    return "product_id" if re.fullmatch(r"(?i)sku|asin|ean|gtin|upc|barcode", name) else None


def identifier(name: str) -> str:
    """The name in small letters, digits and underscores."""
    plain = unicodedata.normalize("NFKD", name.replace("ß", "ss"))
    plain = "".join(sign for sign in plain if not unicodedata.combining(sign))
    plain = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", plain)
    plain = re.sub(r"[^a-zA-Z0-9]+", "_", plain).strip("_").lower()
    return f"column_{plain}".rstrip("_") if not plain or plain[0].isdigit() else plain
