-- What pandoc would drop or set badly on the way from a notebook's Markdown to Typst or HTML.

local TYPST = FORMAT == "typst"

-- What a page cannot show is told to pandoc's log: what it is, and the words by which hw2lib.report.pandoc finds its
-- place.
local function tell(what, words) pandoc.log.warn(what .. "\n" .. words) end

local LIVE = { "script", "iframe", "video", "audio", "canvas", "object", "embed", "svg" }

local function read_html(raw)
  local html, count, told = raw.text, 0, false
  for _, tag in ipairs(LIVE) do
    local shown = tag == "script" and "%0" or "" -- pandoc drops scripts with what is in them
    html, count = html:gsub("<" .. tag .. "%f[^%w][^>]*>", shown)
    if count > 0 and not told then tell("a page cannot show HTML's <" .. tag .. ">", raw.text) end
    told = told or count > 0
  end
  return pandoc.read(html, "html-native_divs-native_spans").blocks
end

-- Macros of LaTeX, from the place on where they are defined. MathJax takes them in mathematics, pandoc does not.
local macros = ""
local function take_macros(tex)
  for _, command in ipairs({ "newcommand", "renewcommand", "providecommand", "DeclareMathOperator", "def" }) do
    tex = tex:gsub("\\" .. command .. "%*?%s*{?%s*\\%a+%s*}?[^{]*%b{}", function(definition)
      macros = macros .. definition .. "\n"
      return ""
    end)
  end
  return tex
end

-- A word that begins with a backslash is a word, as on GitHub and in JupyterLab.
local function words(raw) return pandoc.Inlines(take_macros(raw.text)) end

-- HTML tables (DataFrames) and LaTeX tabulars are raw text to pandoc's Markdown reader: read them as what they are.
local function read_block(raw)
  if raw.format == "html" then return read_html(raw) end
  if raw.format ~= "tex" and raw.format ~= "latex" then return nil end
  if not raw.text:match("^\\begin") then return pandoc.Plain(words(raw)) end
  local blocks = pandoc.read(raw.text, "latex").blocks
  return #blocks > 0 and blocks or pandoc.CodeBlock(raw.text)
end

-- Equation numbers: given by hand, or counted where there is a label to refer to.
local numbers, equations = {}, 0

local function number_rows(tex)
  local numbered = (tex .. "\\\\"):gsub("(.-)\\\\", function(row)
    local label, tag = row:match("\\label%s*{(.-)}"), row:match("\\tag%*?%s*{(.-)}")
    if label and not tag then
      equations = equations + 1
      tag = tostring(equations)
      row = row:gsub("\\label%s*%b{}", "\\tag{" .. tag .. "}")
    elseif label then
      row = row:gsub("\\label%s*%b{}", "")
    end
    if label then numbers[label] = tag end
    return row .. "\\\\"
  end)
  return numbered:sub(1, -3)
end

local function expand(math)
  local tex = take_macros(math.text)
  if macros ~= "" and tex:match("%S") then
    pandoc.read(macros .. "\\(" .. tex .. "\\)", "latex"):walk({ Math = function(found) tex = found.text end })
  end
  if tex ~= math.text and not tex:match("%S") then return {} end
  math.text = number_rows(tex)
  return math
end

-- Anchors and images of HTML, and equations outside of dollars (`\begin{align} ... \end{align}`), which MathJax
-- accepts.
local function read_inline(raw)
  local anchor = raw.format == "html" and raw.text:match('^<a%s+id="([^"]+)"%s*>$')
  if anchor then return pandoc.Span({}, { id = anchor }) end
  if raw.format == "html" then return pandoc.utils.blocks_to_inlines(read_html(raw)) end
  if raw.format ~= "tex" or raw.text:match("^\\%a*ref%s*{") then return nil end
  return raw.text:match("^\\begin") and expand(pandoc.Math("DisplayMath", raw.text)) or words(raw)
end

local function reference(command, label)
  local number = numbers[label]
  return number and (command == "eqref" and "(" .. number .. ")" or number)
end

local function show_numbers(math)
  math.text = math.text:gsub("\\tag%*?%s*(%b{})", function(tag) return "\\qquad (" .. tag:sub(2, -2) .. ")" end)
  math.text = math.text:gsub("\\(%a*ref)%s*{(.-)}", reference)
  return math
end

local function refer(raw)
  local command, label = raw.text:match("^\\(%a*ref)%s*{(.-)}")
  return command and pandoc.Inlines(reference(command, label) or raw.text)
end

local function is_number(cell)
  local text = pandoc.utils.stringify(cell.contents)
  return text == "" or text:match("%d") and not text:match("[%a/]") or text:match("^[–—%-X]$") ~= nil
end

-- Wide tables. Lengths are in em: about half of one a letter, at most and at least, and one beside each column.
local MOST, LEAST, BESIDE, LONG = 0.53, 0.45, 1, 30 -- a word of more letters may break anywhere (report.typ)
local LARGEST, NORMAL, SMALLEST = 9.5, 8.5, 6.5 -- sizes in points of a table, of a wide one, and the least
local LINE = 52 -- em in a line of a wide table

local function rows_of(tbl)
  local rows = pandoc.List(tbl.head.rows)
  for _, body in ipairs(tbl.bodies) do rows = rows .. body.head .. body.body end
  return rows .. tbl.foot.rows
end

-- Of each column the width that shows its cells in a line each, and the least, that of its longest word; and whether
-- each cell stands in one row and column.
local function measure(tbl)
  local whole, least, simple = {}, {}, true
  for i = 1, #tbl.colspecs do whole[i], least[i] = BESIDE, BESIDE end
  for _, row in ipairs(rows_of(tbl)) do
    for i, cell in ipairs(row.cells) do
      simple = simple and cell.col_span == 1 and cell.row_span == 1
      local text = pandoc.utils.stringify(cell.contents)
      whole[i] = math.max(whole[i], BESIDE + LEAST * (utf8.len(text) or #text))
      for word in text:gmatch("[^%s%-]+%-?") do
        least[i] = math.max(least[i], BESIDE + MOST * math.min(LONG, utf8.len(word) or #word))
      end
    end
  end
  return whole, least, simple
end

local function sum(values, columns)
  local total = 0
  for _, column in ipairs(columns) do total = total + values[column] end
  return total
end

-- Whether each word fits where Typst gives the columns that have to wrap, once the others stand, the same room.
local function has_room(whole, least, columns)
  local room, wide, count = LINE, pandoc.List(columns), 0
  while #wide ~= count do
    local share = room / #wide
    count = #wide
    wide = wide:filter(function(column)
      if whole[column] <= share then room = room - whole[column] end
      return whole[column] > share
    end)
  end
  return not wide:find_if(function(column) return least[column] > room / #wide end)
end

-- The table with these columns alone.
local function part_of(tbl, columns)
  local part = tbl:clone()
  local function chosen(list) return pandoc.List(columns):map(function(column) return list[column] end) end
  part.colspecs = chosen(part.colspecs)
  for _, row in ipairs(rows_of(part)) do row.cells = chosen(row.cells) end
  return part
end

-- A table whose words do not fit side by side is set smaller, and if that is not enough in parts, each with the first
-- column; a cell that spans others forbids parts. A long word gets the room that other columns can spare.
local function fit(tbl)
  local whole, least, simple = measure(tbl)
  local all, parts = {}, { { 1 } }
  for i = 1, #tbl.colspecs do all[i] = i end
  local size = NORMAL * LINE / sum(least, all)
  if size < SMALLEST and simple then
    for i = 2, #all do
      local part = parts[#parts]
      if #part > 1 and sum(least, part) + least[i] > LINE then
        part = { 1 }
        parts[#parts + 1] = part
      end
      part[#part + 1] = i
    end
  else
    parts = { all }
  end
  local blocks = pandoc.List()
  for number, columns in ipairs(parts) do
    local part = #parts > 1 and part_of(tbl, columns) or tbl
    local words, lines = sum(least, columns), sum(whole, columns)
    local line = math.max(LINE, words)
    local tight = words > LINE or lines > LINE and not has_room(whole, least, columns)
    if tight and lines > line then
      for i, column in ipairs(columns) do
        local more = (line - words) * (whole[column] - least[column]) / (lines - words)
        part.colspecs[i] = { part.colspecs[i][1], (least[column] + more) / line }
      end
    end
    if number > 1 then part.caption = pandoc.Caption() end
    local wide = tight or lines > LINE * NORMAL / LARGEST
    if wide then blocks:insert(pandoc.RawBlock("typst", "#[#set text(" .. NORMAL * LINE / line .. "pt)")) end
    blocks:insert(part)
    if wide then blocks:insert(pandoc.RawBlock("typst", "]")) end
  end
  return blocks
end

-- Columns of numbers are set flush right; widths come from the contents, not from the dashes of the source.
local function align_numbers(tbl)
  local columns = #tbl.colspecs
  local numeric = {}
  for _, body in ipairs(tbl.bodies) do
    for _, row in ipairs(body.body) do
      for i, cell in ipairs(row.cells) do
        local column = columns - #row.cells + i -- a cell that spans rows stands on the left
        numeric[column] = numeric[column] ~= false and is_number(cell)
      end
    end
  end
  for column, spec in ipairs(tbl.colspecs) do
    local align = spec[1]
    if align == "AlignDefault" then align = numeric[column] and "AlignRight" or "AlignLeft" end
    tbl.colspecs[column] = { align, nil }
  end
  return TYPST and fit(tbl) or pandoc.Div({ tbl }, { class = "table" }) -- which scrolls
end

-- Captions are numbered by Typst, and for HTML here. Returns the document and the name of each numbered figure.
local function number_captions(doc)
  local count, names = { Figure = 0, Table = 0 }, {}
  local function number(block)
    local first = block.caption.long[1]
    if not first then return nil end
    count[block.t] = count[block.t] + 1
    local name = block.t .. " " .. count[block.t]
    names[block.identifier] = name
    first.content = pandoc.Inlines({ pandoc.Strong(name .. "."), pandoc.Space() }) .. first.content
    block.caption.long[1] = first
    return block
  end
  return TYPST and doc or doc:walk({ Figure = number, Table = number }), names
end

-- Where a document numbers its figures and tables itself (hw2lib.report.document), a table's caption stands above it in
-- a paragraph that begins with the table's anchor; the template (report.typ) then counts nothing.
local numbered = false
local function take_captions(blocks)
  for i = #blocks - 1, 1, -1 do
    local anchor = blocks[i].t == "Para" and blocks[i].content[1]
    if anchor and blocks[i + 1].t == "Table" and anchor.t == "Span" and anchor.identifier:match("^tab%-") then
      blocks[i + 1].identifier = anchor.identifier
      blocks[i + 1].caption = pandoc.Caption({ pandoc.Plain({ table.unpack(blocks[i].content, 2) }) })
      blocks:remove(i)
    end
  end
  return blocks
end

-- Typst refuses a link to a label that is not there, so such a link becomes plain words. A link to the file of a
-- figure refers to the figure: `[the curve](figures/a.png)` becomes "Figure 3". `[page](#results)` becomes "page 12",
-- and "section" where there are no pages. A link to another report leads to its PDF or HTML.
local SCHEMES = { http = true, https = true, ftp = true, mailto = true, file = true, doi = true } -- and no javascript
local function mend_links(doc)
  local labels, figure_of, count, names = {}, {}, 0, {}
  local function note(element) labels[element.identifier] = true end
  doc = doc:walk({
    Header = note,
    Span = note,
    Table = function(tbl)
      note(tbl)
      numbered = numbered or tbl.identifier:match("^tab%-") ~= nil
    end,
    Figure = function(figure)
      count = count + 1
      numbered = numbered or figure.identifier:match("^fig%-") ~= nil
      if figure.identifier == "" then figure.identifier = "figure-" .. count end
      note(figure)
      figure:walk({ Image = function(image) figure_of[image.src] = figure.identifier end })
      return figure
    end,
  })
  doc.meta.numbered = numbered
  if not numbered then doc, names = number_captions(doc) end
  return doc:walk({
    Link = function(link)
      local scheme = link.target:lower():match("^%s*([%w+.-]+):")
      if scheme and not SCHEMES[scheme] then return link.content end
      local figure = figure_of[link.target]
      if figure and TYPST then return pandoc.RawInline("typst", "#ref(<" .. figure .. ">)") end
      if figure then return pandoc.Link(names[figure] or link.content, "#" .. figure) end
      if link.target:sub(1, 1) ~= "#" then
        local report, anchor = link.target:match("^(%a+)%.md(#?[^.]*)$")
        if report == "report" or report == "supplement" then
          link.target = report .. (TYPST and ".pdf" or ".html") .. anchor
        elseif not TYPST and doc.meta.base and not link.target:match("^%a[%w+.-]*:") and not link.target:match("^/") then
          link.target = pandoc.utils.stringify(doc.meta.base) .. "/" .. link.target -- the HTML may lie elsewhere
        end
        return link.target ~= "" and link or link.content
      end
      local label = link.target:sub(2)
      if not labels[label] then label = label:lower() end -- Jupyter's anchors keep capitals
      link.target = "#" .. label
      if labels[label] and pandoc.utils.stringify(link.content) == "page" then
        if TYPST then return pandoc.RawInline("typst", '#page-of(label("' .. label .. '"))') end
        link.content = "section"
      end
      return labels[label] and link or link.content
    end,
  })
end

-- An anchor without words takes no room, and no paragraph of its own; Typst drops one that nothing follows.
local function is_anchor(inline) return inline.t == "Span" and #inline.content == 0 and inline.identifier ~= "" end

local function set_anchor(span)
  if not TYPST or not is_anchor(span) then return nil end
  return pandoc.RawInline("typst", '#metadata(none)#label("' .. span.identifier .. '")')
end

local function set_paragraph(para)
  if #para.content ~= 1 then return nil end
  if is_anchor(para.content[1]) then return pandoc.Plain(para.content) end
  if TYPST and para.content[1].t == "Emph" then -- a question stays with the beginning of its answer
    return { pandoc.RawBlock("typst", "#block(sticky: true)["), para, pandoc.RawBlock("typst", "]") }
  end
end

-- The alternative text of a picture, which pandoc gives to HTML alone.
local function describe(image)
  local words = pandoc.utils.stringify(image.caption):gsub('[\\"]', "\\%0")
  if not TYPST or words == "" then return nil end
  return { pandoc.RawInline("typst", '#[#set image(alt: "' .. words .. '")\n'), image, pandoc.RawInline("typst", "]") }
end

-- Without a title in the front matter the first heading is the title, and the headings below it move up.
local function take_title(doc)
  local first = doc.blocks[1]
  if doc.meta.title then
    doc.meta.titlepage = true
  elseif first and first.t == "Header" and first.level == 1 then
    doc.meta.title = pandoc.MetaInlines(first.content)
    doc.blocks:remove(1)
    local only_title = true
    doc:walk({ Header = function(header) only_title = only_title and header.level > 1 end })
    if only_title then
      doc = doc:walk({ Header = function(header) header.level = header.level - 1 return header end })
    end
  end
  if TYPST or doc.meta["section-numbering"] then return doc end
  return doc:walk({ Header = function(header) header.classes:insert("unnumbered") return header end })
end

return {
  { traverse = "topdown", RawBlock = read_block, RawInline = read_inline, Math = expand },
  { Blocks = take_captions },
  { Math = show_numbers, RawInline = refer, Table = align_numbers },
  { Pandoc = function(doc) return mend_links(take_title(doc)) end },
  { Para = set_paragraph },
  { Span = set_anchor, Image = describe },
}
