// Who answers: the service over HTTP, or a worker in this browser where `whichland export --site` made the page.
//
//   info()                   what answers: labels, engine, limits (`ServiceInfo` in serving/answers.py)
//   predict(file, options)   a `PhotoAnswer`, or an `UnreadPhoto` that has an `error`
//   explain(file, why)       an `ExplainedPhoto`; `why` is [label] or [label, label it is compared with]
//   give(file, country)      let a service that collects keep the photo: the receipt with which to takeBack(receipt)

const { site } = document.documentElement.dataset;

const all = await import(site === undefined ? "./answers_http.js" : "./site/answers.js");
export const { info, predict, explain, give, takeBack } = all;
