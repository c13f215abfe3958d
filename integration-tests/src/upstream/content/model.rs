//! The API's documents: their real shape, with values drawn from the path they are under.

use std::sync::LazyLock;

use serde::Serialize;
use serde_json::{Value, json};

use super::draw::Draw;

const NAMES: [&str; 8] = [
    "Accesorios para Vehículos",
    "Agro",
    "Alimentos y Bebidas",
    "Antigüedades y Colecciones",
    "Celulares y Teléfonos",
    "Computación",
    "Herramientas",
    "Hogar, Muebles y Jardín",
];

const TITLES: [&str; 6] = [
    "Auriculares Inalámbricos Bluetooth",
    "Bicicleta Rodado 29 Aluminio",
    "Cafetera Express 15 Bares",
    "Notebook 14 Pulgadas 16gb Ram 512gb",
    "Taladro Percutor 13mm 750w",
    "Zapatillas Running Talle 42",
];

/// The settings of every category: they make most of its size.
static SETTINGS: LazyLock<Value> = LazyLock::new(|| {
    json!({
        "adult_content": false, "buying_allowed": true, "buying_modes": ["buy_it_now", "auction"],
        "catalog_domain": null, "coverage_areas": "not_allowed", "currencies": ["ARS"],
        "fragile": false, "immediate_payment": "required",
        "item_conditions": ["used", "not_specified", "new"], "items_reviews_allowed": false,
        "listing_allowed": false, "max_description_length": 50000, "max_pictures_per_item": 12,
        "max_pictures_per_item_var": 10, "max_sub_title_length": 70, "max_title_length": 60,
        "maximum_price": null, "minimum_price": 0, "mirror_category": null, "price": "required",
        "reservation_allowed": "not_allowed", "restrictions": [], "rounded_address": false,
        "seller_contact": "not_allowed", "shipping_options": ["carrier", "custom"],
        "shipping_profile": "optional", "show_contact_information": false, "stock": "required",
        "subscribable": false, "tags": [], "vertical": null, "vip_subdomain": "articulo",
        "buyer_protection_programs": ["delivered", "undelivered"], "status": "enabled",
    })
});

#[derive(Serialize)]
struct Named {
    id: String,
    name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_items_in_this_category: Option<u64>,
}

#[derive(Serialize)]
struct Category<'a> {
    id: &'a str,
    name: &'static str,
    picture: String,
    permalink: Option<&'a str>,
    total_items_in_this_category: u64,
    path_from_root: Vec<Named>,
    children_categories: Vec<Named>,
    attribute_types: &'static str,
    settings: &'static Value,
    meta_categ_id: Option<u64>,
    attributable: bool,
    date_created: &'static str,
}

#[derive(Serialize)]
struct Item<'a> {
    id: &'a str,
    site_id: &'a str,
    title: &'static str,
    seller_id: u64,
    category_id: String,
    price: u64,
    currency_id: &'static str,
    available_quantity: u64,
    sold_quantity: u64,
    buying_mode: &'static str,
    listing_type_id: &'static str,
    condition: &'static str,
    permalink: String,
    thumbnail: String,
    accepts_mercadopago: bool,
    shipping: Shipping,
    attributes: [Attribute; 2],
    status: &'static str,
}

#[derive(Serialize)]
struct Shipping {
    mode: &'static str,
    free_shipping: bool,
    logistic_type: &'static str,
    store_pick_up: bool,
}

#[derive(Serialize)]
struct Attribute {
    id: &'static str,
    name: &'static str,
    value_name: &'static str,
}

#[derive(Serialize)]
struct User {
    id: u64,
    nickname: String,
    registration_date: &'static str,
    country_id: &'static str,
    user_type: &'static str,
    points: u64,
    site_id: &'static str,
    permalink: String,
}

#[derive(Serialize)]
struct Search<'a> {
    site_id: &'a str,
    query: &'a str,
    paging: Paging,
    results: Vec<Item<'a>>,
}

#[derive(Serialize)]
struct Paging {
    total: u64,
    primary_results: u64,
    offset: u64,
    limit: u64,
}

/// `/categories/{id}`.
pub(super) fn category(id: &str, draw: Draw) -> Vec<u8> {
    let site = site(id);
    let named = |index: u64, total_items_in_this_category| Named {
        id: format!("{site}{}", 1000 + draw.value(index, 500_000)),
        name: draw.pick(index + 1, &NAMES),
        total_items_in_this_category,
    };
    let name = draw.pick(0, &NAMES);
    let mut path_from_root = vec![named(10, None), named(12, None)];
    path_from_root.push(Named { id: id.to_owned(), name, total_items_in_this_category: None });
    let children = 20..21 + draw.value(1, 5);
    bytes(&Category {
        id,
        name,
        picture: format!("https://http2.mlstatic.com/storage/categories-api/images/{id}.png"),
        permalink: None,
        total_items_in_this_category: draw.value(2, 1_000_000),
        path_from_root,
        children_categories: children
            .map(|index| named(index, Some(draw.value(index, 9999))))
            .collect(),
        attribute_types: "variations",
        settings: &SETTINGS,
        meta_categ_id: None,
        attributable: false,
        date_created: "2018-04-25T08:12:56.000Z",
    })
}

/// `/sites/{site}/categories`.
pub(super) fn categories(site: &str, draw: Draw) -> Vec<u8> {
    let named = |(index, name): (u64, &&'static str)| Named {
        id: format!("{site}{}", 1000 + draw.value(index, 500_000)),
        name,
        total_items_in_this_category: None,
    };
    bytes(&(0..).zip(&NAMES).map(named).collect::<Vec<_>>())
}

/// `/items/{id}`.
pub(super) fn item(id: &str, draw: Draw) -> Vec<u8> {
    bytes(&Item::new(id, draw))
}

impl<'a> Item<'a> {
    fn new(id: &'a str, draw: Draw) -> Self {
        let site = site(id);
        Self {
            id,
            site_id: site,
            title: draw.pick(0, &TITLES),
            seller_id: 1 + draw.value(1, 999_999_999),
            category_id: format!("{site}{}", 1000 + draw.value(2, 500_000)),
            price: 100 + draw.value(3, 1_000_000),
            currency_id: "ARS",
            available_quantity: draw.value(4, 500),
            sold_quantity: draw.value(5, 5000),
            buying_mode: "buy_it_now",
            listing_type_id: draw.pick(6, &["gold_special", "gold_pro", "free"]),
            condition: draw.pick(7, &["new", "used"]),
            permalink: format!("https://articulo.mercadolibre.com.ar/{id}-_JM"),
            thumbnail: format!("https://http2.mlstatic.com/D_{id}-I.jpg"),
            accepts_mercadopago: true,
            shipping: Shipping {
                mode: "me2",
                free_shipping: draw.value(8, 2) == 0,
                logistic_type: draw.pick(9, &["drop_off", "fulfillment", "cross_docking"]),
                store_pick_up: false,
            },
            attributes: [
                Attribute {
                    id: "BRAND",
                    name: "Marca",
                    value_name: draw.pick(10, &["Acme", "Genérica", "Sin Marca"]),
                },
                Attribute {
                    id: "ITEM_CONDITION",
                    name: "Condición del ítem",
                    value_name: draw.pick(7, &["Nuevo", "Usado"]),
                },
            ],
            status: "active",
        }
    }
}

/// `/users/{id}`.
pub(super) fn user(id: u64, draw: Draw) -> Vec<u8> {
    let nickname = format!("USUARIO{}", draw.value(0, 10_000_000));
    bytes(&User {
        id,
        permalink: format!("http://perfil.mercadolibre.com.ar/{nickname}"),
        nickname,
        registration_date: "2012-03-14T10:22:31.000-03:00",
        country_id: "AR",
        user_type: draw.pick(1, &["normal", "brand"]),
        points: draw.value(2, 50_000),
        site_id: "MLA",
    })
}

/// `/sites/{site}/search?q={query}`: the page from `offset`. Each result is what `/items/{id}`
/// says.
pub(super) fn search(site: &str, query: &str, offset: u64, limit: u64) -> Vec<u8> {
    let draw = Draw::new(query);
    let total = draw.value(0, 2000);
    let ids: Vec<_> = (offset..total.min(offset + limit))
        .map(|index| format!("{site}{}", 600_000_000 + draw.value(index + 1, 1_000_000_000)))
        .collect();
    let result = |id| Item::new(id, Draw::new(&format!("/items/{id}")));
    bytes(&Search {
        site_id: site,
        query,
        paging: Paging { total, primary_results: total.min(1000), offset, limit },
        results: ids.iter().map(String::as_str).map(result).collect(),
    })
}

/// The site of an id such as `MLA97994`: its three letters.
fn site(id: &str) -> &str {
    let site = id.get(..3).filter(|site| site.bytes().all(|byte| byte.is_ascii_uppercase()));
    site.unwrap_or("MLA")
}

/// A document as JSON. Plain data without maps always has a JSON form.
pub(super) fn bytes(document: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(document).unwrap_or_default()
}
