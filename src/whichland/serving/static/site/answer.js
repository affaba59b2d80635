// From logits to what is answered, as model/answer.py, model/views.py and model/pins.py do.
//
// `site` is site.json: what the bundle and its settings say (serving/site.py writes it).

const NOTHING = 1.1754943508222875e-38; // the least normal number in 32 bits
const SLACK = 1e-4; // of a threshold
const DECIMALS = 6;
const RADIUS_KM = 6371.0088;
const FULL_SCORE = 5000;

const to = (value, decimals) => Number(value.toFixed(decimals));
const reaches = (probability, threshold) => probability >= threshold * (1 - SLACK);

export function softmax(logits, temperature = 1) {
  const scaled = Array.from(logits, (logit) => logit / temperature);
  const peak = scaled.reduce((most, value) => Math.max(most, value));
  const powers = scaled.map((value) => Math.exp(value - peak));
  const sum = powers.reduce((all, value) => all + value);
  return powers.map((value) => value / sum);
}

// One answer from the probabilities of several views: the mean of their logarithms.
export function combined(views) {
  if (views.length === 1) return views[0];
  const mean = (at) => views.reduce((sum, of) => sum + Math.log(Math.max(of[at], NOTHING)), 0) / views.length;
  return softmax(views[0].map((_, at) => mean(at)));
}

// What a `PhotoAnswer` (serving/answers.py) says of probabilities in the order of the labels; `among` is the name of a
// group of labels that alone may be answered, or empty.
export function answerOf(site, probabilities, among, pinTable) {
  const labels = site.info.labels;
  const within = among ? labels.map(({ code }) => site.info.among[among].includes(code)) : labels.map(() => true);
  const inside = probabilities.reduce((sum, share, at) => sum + (within[at] ? share : 0), 0);
  const shares = among ? probabilities.map((share, at) => (within[at] ? share / inside : 0)) : probabilities;
  const levels = site.levels.map(({ level, ...of }) => [level, rolledUp(of, shares, within)]);
  const order = levels[0][1];
  const best = order[0].probability;
  const set = order.filter(({ probability }, rank) => rank === 0 || reaches(probability, site.set?.threshold));
  return {
    guesses: order.slice(0, site.top).map(({ code, name, probability }) => ({
      country: code,
      name,
      probability: to(probability, DECIMALS),
      words: words(site, probability),
    })),
    probabilities: written(order),
    levels: Object.fromEntries(levels.slice(1).map(([level, of]) => [level, written(of)])),
    words: words(site, best),
    outside: among ? to(1 - inside, DECIMALS) : null,
    certain: certain(levels, site.certainty),
    set: site.set && { percent: site.set.percent, countries: set.map(({ code }) => code) },
    abstained: abstains(site.abstain, best),
    novelty: null, // how unlike the training photos a photo is, the service alone says
    unlike: false,
    pin: pinTable && bestPin(pinTable, shares, site.info),
  };
}

const words = (site, probability) => site.words.find(([least]) => probability >= least)[1];

const written = (guesses) => Object.fromEntries(guesses.map(({ code, probability }) => [code, to(probability, DECIMALS)]));

// Probabilities added up to the labels of a level, likeliest first: those that a label lies in which may be answered.
function rolledUp({ codes, names, numbers }, probabilities, within) {
  const guesses = codes.map((code, at) => ({ code, name: names[at], probability: 0, there: false }));
  numbers.forEach((number, at) => {
    guesses[number].probability += probabilities[at];
    guesses[number].there ||= within[at];
  });
  return guesses.filter(({ there }) => there).toSorted((one, other) => other.probability - one.probability);
}

// The first guess where it is certain enough, else the likeliest of the first level above that is; null for none.
function certain(levels, least) {
  for (const [at, [level, [likeliest, ...others]]] of levels.entries()) {
    const { code, name, probability } = likeliest;
    const says = at === 0 || others.length > 0;
    if (says && reaches(probability, least)) return { level, code, name, probability: to(probability, DECIMALS) };
  }
  return null;
}

// `rule`: null where the bundle is not calibrated; its threshold is null where none keeps the promise.
const abstains = (rule, best) => rule !== null && (rule.threshold === null || !reaches(best, rule.threshold));

// What every place is worth as a pin in each country. It takes the square of the number of places, so it lets other
// work through between its steps; places come as [[lat, lon], …] of each label.
export async function pinTable(points, scaleKm, pause) {
  const counts = points.map((of) => of.length);
  const candidates = points.flat();
  const unit = candidates.map(([lat, lon]) => {
    const [phi, lambda] = [(lat * Math.PI) / 180, (lon * Math.PI) / 180];
    return [Math.cos(phi) * Math.cos(lambda), Math.cos(phi) * Math.sin(lambda), Math.sin(phi)];
  });
  const labelOf = counts.flatMap((count, label) => Array(count).fill(label));
  const scores = new Float64Array(candidates.length * counts.length);
  for (let one = 0; one < unit.length; one++) {
    if (one % 64 === 0) await pause();
    const [x, y, z] = unit[one];
    for (let other = one; other < unit.length; other++) {
      const cosine = Math.min(1, Math.max(-1, x * unit[other][0] + y * unit[other][1] + z * unit[other][2]));
      const score = FULL_SCORE * Math.exp((-10 / scaleKm) * RADIUS_KM * Math.acos(cosine));
      scores[one * counts.length + labelOf[other]] += score / counts[labelOf[other]];
      if (other !== one) scores[other * counts.length + labelOf[one]] += score / counts[labelOf[one]];
    }
  }
  return { candidates, scores, labelOf };
}

function bestPin({ candidates, scores, labelOf }, probabilities, { kind, labels }) {
  let [best, most] = [0, -1];
  for (let at = 0; at < candidates.length; at++) {
    let expected = 0;
    const row = at * probabilities.length;
    probabilities.forEach((probability, label) => (expected += probability * scores[row + label]));
    if (expected > most) [best, most] = [at, expected];
  }
  const [lat, lon] = candidates[best];
  const country = kind === "country" ? labels[labelOf[best]].code : null;
  return { lat: to(lat, 4), lon: to(lon, 4), country, expected_score: to(most, 1) };
}
