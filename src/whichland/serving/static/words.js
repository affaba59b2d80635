// What the pages say, by language.

import { DE } from "./words-de.js";
import { EN } from "./words-en.js";

export const WORDS = { en: EN, de: DE };
